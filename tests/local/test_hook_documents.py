"""The template's documents run on the local SSM as they are deployed."""

import json

import hook_documents
from template_project import Project
from test_ssm import SsmScene, local

PLACEHOLDERS = ("executionId", "command", "executionTimeout", "freezeSeconds", "mode", "paths")
# No server answers, whatever the machine of the test has.
NOTHING = {"HOOK_OPTION_FILE": "/nowhere", "HOOK_POSTGRES_HOST": "/nowhere", "HOOK_CONFIG": "/nowhere"}


class HookDocuments(SsmScene):
    def deploy(self, name):
        content = Project().template["Resources"][hook_documents.logical_id(name)]["Properties"]["Content"]
        return local("documents", {"region": "eu-west-1", "name": "hook", "content": json.dumps(content)})

    def test_each_runs_and_answers_with_its_line(self):
        self.agent(environment=NOTHING)
        for name in hook_documents.DOCUMENTS:
            with self.subTest(name):
                self.deploy(name)
                found = self.end(self.send("dry-run"))
                self.assertEqual((found["Status"], found["ResponseCode"]), ("Failed", 206), found)
                said = json.loads(found["StandardOutputContent"].splitlines()[-1])
                self.assertEqual((said["version"], said["consistency"]), (1, "crash"))
                self.assertEqual(found["StandardErrorContent"].split(), said["reason"].split())

    def test_a_script_has_its_parameters_where_the_document_names_them(self):
        for name, (_, parameters) in hook_documents.DOCUMENTS.items():
            script = hook_documents.script(name)
            for each in PLACEHOLDERS:
                self.assertEqual(script.count("'{{ " + each + " }}'"), int(each in parameters), (name, each))
            self.assertNotIn("shellcheck", script)
            self.assertNotRegex(script, r"(?m)^source ")

    def test_a_value_that_could_be_a_command_is_refused(self):
        self.deploy("filesystem")
        for paths in ("/data';reboot;'", "$(reboot)", "/a\n/b"):
            self.refused("InvalidParameters", self.send, paths=paths)
        self.refused("InvalidParameters", self.send, executionTimeout="5")
        self.refused("InvalidParameters", self.send, freezeSeconds="121")
        self.refused("InvalidParameters", self.send, executionId="None; reboot")
