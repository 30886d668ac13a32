"""A real Prometheus scrapes a real lossd, and every query of the dashboard finds data in it."""
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import grpc
import numpy as np

from tests.support import evaluation, lossctl, server, tensors
from tests.support.stubs import ROOT

_CONFIG = ROOT / "deploy/prometheus/prometheus.yml"
_DASHBOARD = ROOT / "deploy/grafana/dashboards/lossd.json"
_DATA = ROOT / "tests/data/diabetes"
_PAIR = {"predictions": np.float32([2, 5]), "targets": np.float32([1, 3])}
_WAIT_SECONDS = 30
# What Grafana fills in: its own interval, and the variables of the dashboard at "All".
_VARIABLES = {"__rate_interval": "30s", "instance": ".*", "model": ".*", "dataset": ".*", "loss": ".*"}


def _get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


class Prometheus:
    """A prometheus process with the scrape config of deploy/, its target and its intervals substituted."""

    def __init__(self, folder, target):
        config = folder / "prometheus.yml"
        text, targets = re.subn(r'"lossd:9464"', json.dumps(target), _CONFIG.read_text())
        assert targets == 1, "the scrape config has another target"
        config.write_text(re.sub(r"_interval: 15s", "_interval: 1s", text))
        self._log = folder / "prometheus.log"
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
                 "--web.listen-address=127.0.0.1:0"], stdout=log, stderr=log)
        self._address = self.wait(self._listening)
        self.wait(self._ready)

    def wait(self, condition):
        """What the condition gives, once that is true."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            value = condition()
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"in vain for {_WAIT_SECONDS} s: {self._log.read_text()[-4000:]}")

    def _listening(self):
        found = re.search(r'msg="Listening on" address=(\S+:[1-9]\d*)', self._log.read_text())
        return found and found[1]

    def _ready(self):
        """It listens before it serves: until its storage is open it answers 503."""
        try:
            return _get(f"http://{self._address}/-/ready")
        except urllib.error.HTTPError:
            return None

    def query(self, expression):
        """The instant vector, as (labels, value) pairs."""
        url = f"http://{self._address}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        data = json.loads(_get(url))["data"]
        return [(each["metric"], float(each["value"][1])) for each in data["result"]]

    def label_values(self, metric, label):
        url = (f"http://{self._address}/api/v1/label/{label}/values?" +
               urllib.parse.urlencode({"match[]": metric}))
        return json.loads(_get(url))["data"]

    def close(self):
        self._process.terminate()
        self._process.wait(timeout=20)


class PrometheusTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="lossd-prometheus-"))
        cls.addClassCleanup(shutil.rmtree, folder)
        cls.lossd = server.Server("--max-streams", "1")
        cls.addClassCleanup(cls.lossd.close)
        cls.prometheus = Prometheus(folder, cls.lossd.metrics)
        cls.addClassCleanup(cls.prometheus.close)
        # The counters are seen at zero first: a rate needs two samples.
        cls.prometheus.wait(lambda: cls.prometheus.query('up{job="lossd"} == 1'))
        cls.evaluated = cls.evaluate()
        cls.compute_not_finite()
        cls.resume()
        cls.fail()
        cls.exceed_the_streams()
        cls.prometheus.wait(lambda: cls.prometheus.query('lossd_rejected_total{reason="STREAM_SLOTS"} > 0'))

    @classmethod
    def evaluate(cls):
        done = lossctl.run("evaluate", "--server", cls.lossd.address, "--loss", "mse", "--loss", "huber",
                           "--input", f"predictions={_DATA}/predictions.npy",
                           "--input", f"targets={_DATA}/targets.npy",
                           "--model", "ridge", "--dataset", "diabetes", "--format", "json")
        assert done.returncode == 0, done.stderr
        return {each["result"]["loss"]: each for each in json.loads(done.stdout)["summaries"]}

    @classmethod
    def compute_not_finite(cls):
        inputs = {"predictions": np.float32([np.nan, np.inf]), "targets": np.float32([0, 0])}
        cls.lossd.stub.ComputeLoss(tensors.request([tensors.loss("mae")], inputs))

    @classmethod
    def resume(cls):
        spec = evaluation.spec([tensors.loss("mse")])
        spec.resume_from.CopyFrom(evaluation.evaluate(cls.lossd.stub, spec, [_PAIR]).state)
        spec.next_sequence = 1
        assert evaluation.evaluate(cls.lossd.stub, spec, [_PAIR]).summaries[0].result.items == 4

    @classmethod
    def fail(cls):
        """A call without its inputs."""
        done = lossctl.run("compute", "--server", cls.lossd.address, "--loss", "mse",
                           "--input", f"targets={_DATA}/targets.npy")
        assert done.returncode == 1, done.stderr

    @classmethod
    def exceed_the_streams(cls):
        enough = threading.Event()

        def steps():
            yield evaluation.step(spec=evaluation.spec([tensors.loss("mse")], every_batch=True))
            yield evaluation.batch(_PAIR)
            enough.wait(_WAIT_SECONDS)
        holder = cls.lossd.stub.Evaluate(steps(), timeout=_WAIT_SECONDS)
        next(holder)  # a progress: the stream has its slot
        try:
            evaluation.run(cls.lossd.stub, [evaluation.finish()])
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        else:
            raise AssertionError("a stream over --max-streams was served")
        finally:
            enough.set()
            holder.cancel()

    def test_every_query_of_the_dashboard_finds_data(self):
        dashboard = json.loads(_DASHBOARD.read_text())
        queries = [(panel["title"], target["expr"])
                   for panel in dashboard["panels"] for target in panel.get("targets", ())]
        self.assertGreater(len(queries), 15)
        for title, query in queries:
            for name, value in _VARIABLES.items():
                query = query.replace(f"${name}", value)
            with self.subTest(title, query=query):
                self.assertNotIn("$", query)
                values = [value for _, value in self.prometheus.query(query)]
                self.assertTrue(any(value == value for value in values), values)

    def test_every_variable_of_the_dashboard_has_values(self):
        names = set()
        for variable in json.loads(_DASHBOARD.read_text())["templating"]["list"]:
            names.add(variable["name"])
            if variable["type"] == "datasource":
                continue
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            self.assertTrue(self.prometheus.label_values(metric.replace("$model", ".*"), label), variable["name"])
        self.assertEqual(names, {"datasource", *_VARIABLES} - {"__rate_interval"})

    def test_the_gauges_hold_what_was_evaluated(self):
        for metric, of in (("lossd_evaluation_loss", lambda each: each["result"]["value"]),
                           ("lossd_evaluation_standard_error", lambda each: each["standard_error"]),
                           ("lossd_evaluation_items", lambda each: int(each["result"]["items"]))):
            found = {labels["loss"]: value for labels, value
                     in self.prometheus.query(metric + '{model="ridge",dataset="diabetes"}')}
            self.assertEqual(found, {loss: of(each) for loss, each in self.evaluated.items()}, metric)

    def test_errors_are_counted_by_code(self):
        for method, code in (("ComputeLoss", "InvalidArgument"), ("Evaluate", "Unavailable")):
            found = self.prometheus.query(
                f'grpc_server_handled_total{{grpc_method="{method}",grpc_code="{code}"}}')
            self.assertEqual([value for _, value in found], [1], (method, code))

    def test_promtool_accepts_the_config_and_the_metrics(self):
        subprocess.run(["promtool", "check", "config", _CONFIG], check=True, capture_output=True)
        page = _get(f"http://{self.lossd.metrics}/metrics")
        lint = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
        self.assertEqual((lint.returncode, lint.stdout, lint.stderr), (0, b"", b""))


if __name__ == "__main__":
    unittest.main()
