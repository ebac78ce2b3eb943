//! The program `ebs-snapshots`: reads the command line, connects, and writes the answer.

use std::{env, process::ExitCode};

use aws::{NotConnected, Operator};
use chrono::Utc;
use clap::{CommandFactory as _, Parser as _};
use ebs_snapshots::{
    args::{Arguments, Command, Common, Dlq, Output},
    commands::Commands,
    context::Context,
    dlq, executions, plan,
    progress::Progress,
    restore, run,
    show::{is_terminal, print, write},
    snapshots,
    stack::Stack,
    status,
    table::Style,
    trouble::{Code, Trouble},
};

/// `plan` makes and drops millions of small texts: with the system's own allocator that is a sixth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Arguments { common, command } = Arguments::parse();
    if let Command::Completions { shell } = command {
        let mut program = Arguments::command();
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut program, "ebs-snapshots", &mut script);
        write(&String::from_utf8_lossy(&script));
        return ExitCode::SUCCESS;
    }
    let code = match Box::pin(carry_out(&common, command)).await {
        Ok(code) => code,
        Err(trouble) => {
            eprintln!("ebs-snapshots: {trouble}");
            trouble.code()
        }
    };
    ExitCode::from(code as u8)
}

async fn signed_in(common: &Common) -> Result<Operator, Trouble> {
    let operator = Operator::connect(common.profile.as_deref(), common.region.as_ref()).await;
    operator.map_err(|problem| match problem {
        NotConnected::Region(_) => Trouble::Usage(problem.to_string()),
        NotConnected::Credentials(_) => Trouble::Aws(format!(
            "{problem}. Log in (aws sso login), or say --profile or AWS_PROFILE; the AWS CLI's own configuration is used"
        )),
    })
}

async fn connected(common: &Common) -> Result<(Operator, Stack), Trouble> {
    let operator = signed_in(common).await?;
    let (asked, home) = (&common.stack_name, operator.home.clone());
    asked.check(&home).map_err(Trouble::Usage)?;
    // By its ARN, where that was given: a stack of the same name in another account is another one.
    let described = operator.stack(&asked.given).await?.ok_or_else(|| {
        Trouble::Usage(format!(
            "there is no stack {} in {home}: say --stack-name, --region or --profile (`aws cloudformation list-stacks` \
             shows what there is)",
            asked.given
        ))
    })?;
    let mut stack = Stack::read(&asked.name, home, described)?;
    stack.commands = Commands::of(common);
    Ok((operator, stack))
}

async fn carry_out(common: &Common, command: Command) -> Result<Code, Trouble> {
    let progress = Progress::new();
    let style = Style::of_output(is_terminal());
    let output = common.output;
    if let Command::Restore(asked) = &command {
        // The stack, and its home region, may be gone.
        let operator = signed_in(common).await?;
        let shown =
            restore::Shown { progress: &progress, style: &style, as_text: output == Output::Table, write: &write };
        let restored = Box::pin(restore::restore(&operator, &operator.home, asked, &shown)).await?;
        progress.end();
        return Ok(print(&restored, output, &style));
    }
    progress.say("the stack");
    let (operator, stack) = connected(common).await?;
    let own_endpoint = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"].iter().any(|name| env::var_os(name).is_some());
    let bucket = operator.bucket(stack.output("ReportBucketName")?, own_endpoint);
    let context = Context {
        ec2: &operator.ec2,
        storage: &bucket,
        operations: &operator,
        stack: &stack,
        now: Utc::now(),
        progress: &progress,
    };
    macro_rules! shown {
        ($look:expr) => {{
            let view = Box::pin($look).await?;
            progress.end();
            Ok(print(&view, output, &style))
        }};
    }
    match command {
        Command::Status => shown!(status::look(&context)),
        Command::Plan => shown!(plan::look(&context)),
        Command::Snapshots(of) => shown!(snapshots::look(&context, &of)),
        Command::Executions { count } => shown!(executions::look(&context, count.into())),
        Command::Run(asked) => {
            let started = run::start(&context, &asked).await?;
            if output == Output::Table {
                progress.end();
                write(&started.head());
            }
            if !asked.watch {
                return Ok(if output == Output::Json { print(&started, output, &style) } else { Code::Well });
            }
            if output == Output::Table {
                write("Ctrl-C ends the watching, and not the run.\n");
            }
            let watching = Progress::new();
            let context = Context { progress: &watching, ..context };
            let say = |line: &str| {
                if output == Output::Table {
                    watching.above(|| write(&format!("{line}\n")));
                }
            };
            let ended = Box::pin(run::watch(&context, started, say)).await?;
            watching.end();
            Ok(print(&ended, output, &style))
        }
        Command::Dlq(Dlq::List { queue }) => shown!(dlq::list(&context, queue)),
        Command::Dlq(Dlq::Show { id }) => shown!(dlq::show(&context, &id)),
        Command::Dlq(Dlq::Retry { letters, timeout }) => shown!(dlq::retry(&context, &letters, timeout)),
        Command::Dlq(Dlq::Drop { letters, yes }) => shown!(dlq::drop_letters(&context, &letters, yes)),
        Command::Restore(_) | Command::Completions { .. } => Ok(Code::Well),
    }
}
