"""lossctl against a real lossd, and without one: results, the same bits either way, and every error it explains."""
import json
import pathlib
import subprocess
import tempfile
import time
import unittest

import numpy as np

from tests.support import lossctl, server

_NO_SERVER = "127.0.0.1:1"


class LossctlTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.address = server.shared().address
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.save("p", np.array([4, 2, 1], "f4"))
        cls.save("t", np.array([1, 2, 3], "f4"))
        random = np.random.default_rng(3)
        cls.save("logits", (random.normal(size=(5000, 7)) * 10.0 ** random.integers(-8, 3, (5000, 1))).astype("f4"))
        cls.save("labels", random.integers(0, 7, 5000))
        cls.save("class_weight", random.uniform(0.5, 2, 7).astype("f4"))

    @classmethod
    def save(cls, name, array):
        np.save(cls.folder / name, array)

    def file(self, name):
        return self.folder / f"{name}.npy"

    def inputs(self, **names):
        return [word for role, name in names.items() for word in ("--input", f"{role}={self.file(name)}")]

    def pairs(self):
        return self.inputs(predictions="p", targets="t")

    def classes(self):
        return [*self.inputs(logits="logits", labels="labels"), "--loss", "cross_entropy"]

    def succeed(self, *arguments):
        done = lossctl.run(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")  # no progress bar: standard error is no terminal
        return done.stdout

    def refuse(self, code, *arguments):
        done = lossctl.run(*arguments)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertEqual(done.stdout, "")
        return done.stderr

    def json(self, *arguments):
        return json.loads(self.succeed(*arguments, "--format", "json"))

    def places(self):
        return (["--server", self.address], ["--local"])

    def test_compute_shows_a_table(self):
        for place in self.places():
            table = self.succeed("compute", "--loss", "huber { delta: 2 }", "--loss", "l1", *self.pairs(), *place)
            lines = [line.split() for line in table.splitlines()]
            self.assertEqual(lines[0], ["loss", "value", "sum", "sum_weight", "items"])
            self.assertEqual(lines[1], ["huber", "2", "6", "3", "3"])
            self.assertEqual(lines[2][0], "mae")
            self.assertEqual(float(lines[2][1]), 5 / 3)
            self.assertEqual(lines[3], ["total", repr(2 + 5 / 3)])

    def test_compute_gives_json_of_the_response(self):
        for place in self.places():
            response = self.json("compute", "--loss", "label: a mse", "--reduction", "sum", *self.pairs(), *place)
            result = response["results"][0]
            self.assertEqual(result["label"], "a")
            self.assertEqual(result["value"], 13)
            self.assertEqual(result["items"], "3")
            self.assertEqual(result["nan_items"], "0")

    def test_compute_shows_items(self):
        table = self.succeed("compute", "--loss", "mse", "--reduction", "none", *self.pairs(), "--local")
        self.assertTrue(table.endswith("values of mse  FLOAT32 [3]\n  9\n  0\n  4\n"), table)

    def test_evaluate_gives_the_bits_of_compute_for_every_batch(self):
        whole = self.json("compute", *self.classes(), "--local")["results"][0]
        states = set()
        for place in self.places():
            for batch in ([], ["--batch", 1000], ["--batch", 4999]):
                result = self.json("evaluate", *self.classes(), *batch, *place)
                self.assertEqual(result["summaries"][0]["result"]["value"], whole["value"])
                self.assertEqual(result["summaries"][0]["result"]["sum"], whole["sum"])
                states.add(result["state"]["value"])
        self.assertEqual(len(states), 1)

    def test_fortran_order_gives_the_same_bits(self):
        self.save("fortran", np.asfortranarray(np.load(self.file("logits"))))
        fortran = [*self.inputs(logits="fortran", labels="labels"), "--loss", "ce", "--local"]
        for command in (["compute"], ["evaluate", "--batch", 33]):
            self.assertEqual(self.succeed(*command, *fortran), self.succeed(*command, *self.classes(), "--local"))

    def test_constants(self):
        constant = ["--constant", f"class_weight={self.file('class_weight')}"]
        whole = self.json("compute", *self.classes(), *self.inputs(class_weight="class_weight"), "--local")
        for place in self.places():
            result = self.json("evaluate", *self.classes(), *constant, "--batch", 100, *place)
            self.assertEqual(result["summaries"][0]["result"]["value"], whole["results"][0]["value"])
        wrong = self.refuse(2, "evaluate", *self.classes(), *self.inputs(class_weight="class_weight"), "--local")
        self.assertIn("--constant NAME=FILE", wrong)

    def test_merge(self):
        logits, labels = np.load(self.file("logits")), np.load(self.file("labels"))
        parts = []
        for i, rows in enumerate((slice(0, 1), slice(1, 3000), slice(3000, None))):
            self.save("part_logits", logits[rows])
            self.save("part_labels", labels[rows])
            parts.append(self.folder / f"{i}.state")
            self.succeed("evaluate", "--loss", "cross_entropy", "--local", "--state-out", parts[-1],
                         *self.inputs(logits="part_logits", labels="part_labels"))
        whole = self.json("evaluate", *self.classes(), "--local")
        merged = self.folder / "merged.state"
        for place in self.places():
            result = self.json("merge", *reversed(parts), "--state-out", merged, *place)
            self.assertEqual(result["summaries"], whole["summaries"])
            self.assertEqual(result["state"], whole["state"])
        self.assertEqual(self.json("merge", merged, "--local")["state"], whole["state"])
        self.assertIn("INVALID_ARGUMENT", self.refuse(1, "merge", self.file("p"), "--local"))
        self.assertIn("No such file", self.refuse(2, "merge", self.folder / "none.state", "--local"))

    def test_list(self):
        for place in self.places():
            table = self.succeed("list", *place)
            self.assertIn("\nmse ", table)
            page = self.succeed("list", "ce", *place)
            self.assertTrue(page.startswith("cross_entropy: "), page)
            for word in ("formula ", "label_smoothing", "class_weight", "target_probs", "[N,C,...]"):
                self.assertIn(word, page)
            self.assertIn("NOT_FOUND", self.refuse(1, "list", "nonsense", *place))

    def test_health(self):
        self.assertEqual(self.succeed("health", "--server", self.address), "SERVING\n")
        self.assertEqual(self.succeed("health", "lossd.v1.LossService", "--server", self.address), "SERVING\n")
        self.assertIn("cannot reach a server", self.refuse(1, "health", "--server", _NO_SERVER))

    def test_an_empty_file_evaluates_to_nothing(self):
        self.save("empty", np.zeros((0, 7), "f4"))
        self.save("no_labels", np.zeros(0, "i8"))
        result = self.json("evaluate", "--loss", "ce", *self.inputs(logits="empty", labels="no_labels"), "--local")
        self.assertEqual(result["summaries"][0]["result"]["items"], "0")
        self.assertEqual(result["summaries"][0]["result"]["value"], "NaN")

    def test_unusable_files(self):
        (self.folder / "text.npy").write_text("1.0, 2.0\n")
        (self.folder / "cut.npy").write_bytes(self.file("logits").read_bytes()[:1000])
        self.save("big_endian", np.zeros(3, ">f4"))
        self.save("complex", np.zeros(3, "c8"))
        for name, message in (("missing", "No such file"), ("text", "is no .npy file"), ("cut", "is truncated"),
                              ("big_endian", "big-endian"), ("complex", "<c8")):
            for command in ("compute", "evaluate"):
                told = self.refuse(2, command, "--loss", "mse", *self.inputs(predictions=name, targets="t"))
                self.assertIn(message, told)
                self.assertIn(f"{name}.npy", told)

    def test_a_bad_loss_text_is_marked(self):
        for command in ("compute", "evaluate"):
            told = self.refuse(2, command, "--loss", "huber { dleta: 2 }", *self.pairs())
            lines = told.splitlines()
            self.assertEqual(lines[1], "  huber { dleta: 2 }")
            self.assertEqual(lines[2].index("^"), lines[1].index("dleta"))

    def test_an_unreachable_server(self):
        for command in ("compute", "evaluate"):
            told = self.refuse(1, command, "--loss", "mse", *self.pairs(), "--server", _NO_SERVER)
            self.assertIn(f"cannot reach a server at {_NO_SERVER}", told)

    def test_errors_of_the_service_name_the_field(self):
        for place in self.places():
            told = self.refuse(1, "compute", "--loss", "mse", *self.inputs(predictions="p"), *place)
            self.assertIn("INVALID_ARGUMENT MISSING_INPUT", told)
            told = self.refuse(1, "compute", "--loss", "mse", *self.inputs(predictions="p", targets="logits"), *place)
            self.assertIn("SHAPE_MISMATCH", told)

    def test_a_message_over_the_limit_names_the_flag(self):
        self.save("large", np.zeros(5 << 20, "f4"))
        told = self.refuse(1, "compute", "--loss", "mse", *self.inputs(predictions="large", targets="large"),
                         "--server", self.address)
        self.assertIn("RESOURCE_EXHAUSTED", told)
        self.assertIn("--max-message-bytes", told)

    def test_usage(self):
        for arguments in ([], ["nonsense"], ["compute"], ["compute", "--loss", "mse", "--reduction", "middle"],
                          ["compute", "--loss", "mse", "--input", "p.npy"], ["evaluate", "--loss", "mse"],
                          ["compute", "--loss", "mse", "--local", "--server", "x"]):
            self.assertEqual(lossctl.run(*arguments).returncode, 2, arguments)
        self.assertIn("compute", self.succeed("--help"))


class TlsTest(unittest.TestCase):
    """A server with certificates made for this test: what is needed gets through, what is missing is told."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                     "-subj", "/CN=test", "-keyout", "ca.key", "-out", "ca.pem")
        for name in ("server", "client"):
            (self.folder / "names").write_text("subjectAltName=DNS:lossd.test,IP:127.0.0.1\n")
            self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                         f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
            self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                         "-days", "1", "-extfile", "names", "-out", f"{name}.pem")

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def file(self, name):
        return str(self.folder / name)

    def start(self, *flags):
        ports = self.folder / "ports.json"
        ports.unlink(missing_ok=True)
        process = subprocess.Popen(
            [server.binary(), "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--ports-file", str(ports),
             "--tls-certificate", self.file("server.pem"), "--tls-key", self.file("server.key"), *flags],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        while not ports.exists():
            self.assertIsNone(process.poll(), "lossd did not start")
            time.sleep(0.01)
        return json.loads(ports.read_text())["listen"][0]

    def health(self, address, *flags):
        return lossctl.run("health", "--server", address, *flags).returncode

    def test_tls(self):
        address = self.start()
        self.assertEqual(self.health(address, "--tls", "--tls-ca", self.file("ca.pem")), 0)
        named = ("--tls", "--tls-ca", self.file("ca.pem"), "--tls-server-name")
        self.assertEqual(self.health(address, *named, "lossd.test"), 0)
        self.assertEqual(self.health(address, *named, "other.test"), 1)
        self.assertEqual(self.health(address, "--tls"), 1)
        self.assertEqual(self.health(address), 1)

    def test_mutual_tls(self):
        address = self.start("--tls-client-ca", self.file("ca.pem"))
        tls = ("--tls", "--tls-ca", self.file("ca.pem"))
        pair = ("--tls-certificate", self.file("client.pem"), "--tls-key", self.file("client.key"))
        self.assertEqual(self.health(address, *tls, *pair), 0)
        self.assertEqual(self.health(address, *tls), 1)
        self.assertEqual(self.health(address, *tls, *pair[:2]), 2)
        self.assertEqual(self.health(address, *tls, *pair[:3], self.file("none.key")), 2)
        self.assertEqual(self.health(address, *pair), 2)


if __name__ == "__main__":
    unittest.main()
