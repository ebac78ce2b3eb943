"""What functions print is written down, and so are the tokens that they must not print."""

import io
import json
import os
import tempfile
import unittest
import unittest.mock
from pathlib import Path

from function_logs import Copied, tokens_of


class FunctionLogs(unittest.TestCase):
    def test_each_line_is_written_down_with_its_function_and_read_on(self):
        with tempfile.TemporaryDirectory() as folder, unittest.mock.patch.dict(os.environ, LOCAL_CLOUD_LOGS=folder):
            stream = Copied("copy", io.BytesIO(b'{"outcome":"done"}\nK\xc3\xb6ln \xff\n'))
            self.assertEqual(list(iter(stream.readline, b"")), [b'{"outcome":"done"}\n', b"K\xc3\xb6ln \xff\n"])
            lines = (Path(folder) / "functions.log").read_text().splitlines()
        self.assertEqual(
            [json.loads(line) for line in lines],
            [{"function": "copy", "line": '{"outcome":"done"}'}, {"function": "copy", "line": "Köln �"}],
        )
        stream.close()

    def test_tokens_are_those_of_messages(self):
        bodies = ['{"taskToken": "one", "task": {}}', '{"task": {}}', '{"taskToken": null}', "no JSON", "[]"]
        self.assertEqual(tokens_of({"Records": [{"body": body} for body in bodies]}), ["one"])
        self.assertEqual(tokens_of({"step": "StartRun"}), [])
        self.assertEqual(tokens_of(None), [])


if __name__ == "__main__":
    unittest.main()
