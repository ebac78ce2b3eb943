"""Packs the functions that `make build` has built, once for all deployments to local clouds.

    python tests/local/package.py BINARIES BUILT

BUILT is what `sam build` has made: the template, and a folder per function, into which goes the function's binary of
the folder BINARIES. Beside each folder comes its zip file, which the template is made to name. `sam deploy` would zip
seven functions of 60 MB for each stack that is deployed, which takes longer than the deployment.
"""

import os
import re
import shutil
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def main(binaries: Path, built: Path) -> None:
    template = built / "template.yaml"
    text = template.read_text()
    functions = re.findall(r"^ +CodeUri: (\w+Function)(?:\.zip)?$", text, re.MULTILINE)
    if not functions:
        sys.exit(f"{template} names no function that SAM has built")
    # Compressing leaves Python's lock alone.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda function: pack(binaries / binary_of(function), built / function), functions))
    named = re.sub(r"^( +CodeUri: \w+Function)$", r"\1.zip", text, flags=re.MULTILINE)
    if named != text:
        template.write_text(named)


def binary_of(function: str) -> str:
    """WaitCompleteFunction is the binary wait-complete."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", function.removesuffix("Function")).lower()


def pack(binary: Path, folder: Path) -> None:
    bootstrap, archive = folder / "bootstrap", folder.with_name(f"{folder.name}.zip")
    if is_newer(binary, bootstrap):
        shutil.copy2(binary, bootstrap)
    if is_newer(bootstrap, archive):
        whole = archive.with_suffix(".part")
        # It lies on this machine only: quick is better than small.
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            packed.write(bootstrap, "bootstrap")
        shutil.copystat(bootstrap, whole)
        whole.replace(archive)


def is_newer(source: Path, made: Path) -> bool:
    """Whether something is to be made anew; it has the time of its source, so that an older source counts as well."""
    return not made.exists() or source.stat().st_mtime_ns != made.stat().st_mtime_ns


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
