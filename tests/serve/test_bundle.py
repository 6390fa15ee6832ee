"""What is bundled is read by what it is for: protobuf's own parser, a YAML parser, and the command that the container runs."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types
from tests.serve.process import started
from typer.testing import CliRunner

from mobilenets.cli import app
from mobilenets.errors import MobileNetsError, UsageError
from mobilenets.runtime.manifest import Manifest
from mobilenets.serve.bundle import service_name


@pytest.fixture(scope="module")
def bundled(color_model: Path, cell_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "out"
    arguments = [
        "bundle",
        f"Color_1={color_model}",
        f"cells={cell_model}",
        "--out",
        str(folder),
        "--image",
        "registry.example/me:1",
    ]
    result = CliRunner().invoke(app.build("bundle"), [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    files = json.loads(result.stdout)["files"]
    assert sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()) == sorted(files)
    return folder


def config_of(folder: Path, name: str) -> Any:  # Any: protobuf's message
    """Triton's configuration by its own description of the format, which `tritonclient` has."""
    client = pytest.importorskip("tritonclient", reason="the extra 'dev' has tritonclient")
    text_format = pytest.importorskip("google.protobuf.text_format")
    file = Path(client.__path__[0]) / "grpc" / "model_config_pb2.py"  # importing the package would need gRPC
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return text_format.Parse((folder / "models" / name / "config.pbtxt").read_text(encoding="utf-8"), module.ModelConfig())


@pytest.mark.parametrize(("name", "task"), [("Color_1", "classify"), ("cells", "detect")])
def test_triton_reads_what_the_network_takes_and_returns(name: str, task: str, bundled: Path) -> None:
    config = config_of(bundled, name)
    session = onnxruntime.InferenceSession(str(bundled / "models" / name / "1" / "model.onnx"))
    assert (config.name, config.backend, config.max_batch_size) == (name, "onnxruntime", 32)
    for described, real in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [(tensor.name, list(tensor.dims)) for tensor in described] == [(one.name, one.shape[1:]) for one in real]
        assert {tensor.data_type for tensor in described} == {11}  # TYPE_FP32
    manifest = Manifest.from_json(config.parameters["mobilenets"].string_value)
    assert manifest.task == task
    assert (bundled / "models" / name / "labels.txt").read_text().split() == list(manifest.labels)
    assert [tensor.label_filename for tensor in config.output] == (["labels.txt"] if task == "classify" else ["", ""])


def test_kserve_reads_the_container_and_its_probes(bundled: Path) -> None:
    service = yaml.safe_load((bundled / "inference_service.yaml").read_text())
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert service["metadata"]["name"] == "color-1"
    (container,) = service["spec"]["predictor"]["containers"]
    assert container["image"] == "registry.example/me:1"
    port = container["ports"][0]["containerPort"]
    assert {container[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")} == {port}
    assert f"EXPOSE {port}" in (bundled / "Dockerfile").read_text()


# fmt: off
FIELDS: dict[str, Any] = {  # what the typed models of kserve 0.21 and kubernetes 37 know of it, and the types of values
    "apiVersion": str, "kind": str,
    "metadata": {"name": str, "annotations": {str: str}},
    "spec": {"predictor": {
        "minReplicas": int, "terminationGracePeriodSeconds": int,
        "containers": [{
            "name": str, "image": str,
            "ports": [{"containerPort": int, "protocol": str}],
            "readinessProbe": {"httpGet": {"path": str, "port": int}, "periodSeconds": int},
            "livenessProbe":  {"httpGet": {"path": str, "port": int}, "periodSeconds": int},
            "resources": {"requests": {str: str}, "limits": {str: str}},
            "securityContext": {"runAsNonRoot": bool, "runAsUser": int, "allowPrivilegeEscalation": bool},
        }],
    }},
}
# fmt: on


def unknown(value: Any, known: Any, where: str = "") -> list[str]:  # Any: YAML, and types
    """The places of values that are no fields, or of other types."""
    if isinstance(known, list):
        return [place for i, one in enumerate(value) for place in unknown(one, known[0], f"{where}[{i}]")]
    if isinstance(known, dict) and str in known:
        return [f"{where}.{key}" for key, one in value.items() if (type(key), type(one)) != (str, known[str])]
    if isinstance(known, dict):
        strange = [f"{where}.{key}" for key in value if key not in known]
        return strange + [p for key in value if key in known for p in unknown(value[key], known[key], f"{where}.{key}")]
    return [] if type(value) is known else [where]


def test_every_field_of_the_inference_service_is_one_that_kubernetes_knows(bundled: Path) -> None:
    service = yaml.safe_load((bundled / "inference_service.yaml").read_text())
    assert unknown(service, FIELDS) == []
    assert unknown({**service, "metadata": {"nam": "a"}}, FIELDS) == [".metadata.nam"]
    (container,) = service["spec"]["predictor"]["containers"]
    quantities = [amount for amounts in container["resources"].values() for amount in amounts.values()]
    assert all(re.fullmatch(r"\d+(\.\d+)?(m|[KMGT]i?)?", amount) for amount in quantities)
    assert all(value.isascii() for value in service["metadata"]["annotations"].values())
    assert container["securityContext"]["runAsUser"] == user_of(bundled)


def instructions(folder: Path) -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each on a line of its own."""
    lines = (folder / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines if line and not line.startswith("#")]


def user_of(folder: Path) -> int:
    return int(dict(instructions(folder))["USER"])


def test_every_instruction_of_the_dockerfile_is_well_formed(bundled: Path) -> None:
    found = instructions(bundled)
    names = [name for name, _ in found]
    assert names[0] == "FROM"
    assert {name: names.count(name) for name in ("FROM", "USER", "ENTRYPOINT", "CMD", "HEALTHCHECK")} == dict.fromkeys(
        ("FROM", "USER", "ENTRYPOINT", "CMD", "HEALTHCHECK"), 1
    )
    forms = {
        "FROM": r"[a-z0-9./-]+(:[\w.-]+)?",
        "COPY": r"[^ ]+/ /[^ ]*/",
        "USER": r"[1-9]\d*",
        "ENV": r"[A-Z_]+=[^ ]+",
        "EXPOSE": r"\d+",
    }
    for name, rest in found:
        if name in forms:
            assert re.fullmatch(forms[name], rest), rest
        elif name == "RUN":
            assert subprocess.run(["sh", "-n", "-c", rest], check=False).returncode == 0, rest
        else:
            words = json.loads(rest.removeprefix("CMD ") if name == "HEALTHCHECK" else rest)
            assert all(isinstance(word, str) for word in words)
    health = json.loads(dict(found)["HEALTHCHECK"].removeprefix("CMD "))
    compile(health[2], "HEALTHCHECK", "exec")
    made = next(rest for name, rest in found if name == "RUN" and "useradd" in rest)
    assert f"--uid {user_of(bundled)} " in made
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in ("RUN", "COPY"))  # these need root


def test_what_the_container_installs_is_an_extra_of_this_package(bundled: Path) -> None:
    (line,) = [rest for name, rest in instructions(bundled) if name == "RUN" and "pip install" in rest]
    words = shlex.split(line.partition("&&")[0])
    (asked,) = [re.fullmatch(r"mobilenets\[(\w+)\]", word) for word in words if word.startswith("mobilenets")]
    assert asked is not None
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [re.split(r"[^\w-]", need)[0] for need in project["optional-dependencies"][asked[1]]]
    assert {"fastapi", "uvicorn", "prometheus-client"} <= set(needs)
    wheels = words[words.index("--find-links") + 1]
    assert ("COPY", f"wheels/ {wheels}/") in instructions(bundled)


def test_the_container_serves_what_it_copies(bundled: Path, tmp_path: Path, encoded: Callable[..., bytes]) -> None:
    lines = [line for line in (bundled / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    assert {line.split()[0] for line in lines} <= {
        "FROM",
        "COPY",
        "RUN",
        "USER",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    copied = dict(line.split()[1:] for line in lines if line.startswith("COPY"))
    assert all((bundled / source).is_dir() for source in copied)
    parts = {
        name: json.loads(line) for line in lines for name, _, line in [line.partition(" ")] if name in ("ENTRYPOINT", "CMD")
    }
    assert parts["ENTRYPOINT"] == ["mobilenets", "serve"]
    command = [part.replace("=/models/", f"={bundled}/models/") for part in parts["CMD"]]
    at = command.index("--port")
    assert command[at + 1] == "8000"
    del command[at : at + 2]  # the test has a port of its own
    (checked,) = [json.loads(line.partition("CMD ")[2]) for line in lines if line.startswith("HEALTHCHECK")]
    with started(*command, folder=tmp_path) as server:
        exec(checked[-1].replace("http://127.0.0.1:8000", server.url))  # raises where the server is not healthy
        answer = server.pool.request("POST", f"{server.url}/predict?model=Color_1", body=encoded("blue")).json()
        assert answer["label"] == "blue"
        assert server.pool.request("GET", f"{server.url}/v2/models/cells").status == 200


@pytest.mark.parametrize("label", ['say "a\\b"', "zwölf\n\tÄpfel", "苹果"])
def test_any_label_is_read_back_from_tritons_configuration(label: str, color_model: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(color_model)
    (metadata,) = model.metadata_props
    metadata.value = json.dumps({**json.loads(metadata.value), "labels": [label, "b", "c"]})
    onnx.save(model, tmp_path / "model.onnx")
    result = CliRunner().invoke(app.build("bundle"), ["bundle", f"a={tmp_path / 'model.onnx'}", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    config = config_of(tmp_path / "out", "a")
    assert Manifest.from_json(config.parameters["mobilenets"].string_value).labels == (label, "b", "c")
    assert len((tmp_path / "out" / "models" / "a" / "labels.txt").read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize("folder", ["server", "new/server", "."])
def test_the_files_are_named_by_their_paths_in_the_folder(
    folder: str, color_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app.build("bundle"), ["bundle", f"a={color_model}", "--out", folder])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:2] == ["Dockerfile", "inference_service.yaml"]
    assert (tmp_path / folder / "models/a/1/model.onnx").is_file()
    assert Path("server").exists() == (folder == "server")  # the working directory is still there


def refused(*arguments: str) -> MobileNetsError:
    result = CliRunner().invoke(app.build("bundle"), ["bundle", *arguments])
    assert isinstance(result.exception, MobileNetsError), result.output
    return result.exception


@pytest.mark.parametrize("image", ["Photos", "two words", "a;b", "a:b:c", "-a"])
def test_a_name_that_no_image_can_have_is_refused(image: str, color_model: Path, tmp_path: Path) -> None:
    error = refused(str(color_model), "--out", str(tmp_path / "new"), f"--image={image}")
    assert str(error) == f"'{image}' cannot be the name of a container's image"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("image", ["host.org:5000/team/photos:V1.2", f"a@sha256:{'0' * 64}"])
def test_images_may_be_called_as_registries_call_them(image: str, color_model: Path, tmp_path: Path) -> None:
    arguments = ["bundle", str(color_model), "--out", str(tmp_path / "new"), "--image", image]
    assert CliRunner().invoke(app.build("bundle"), arguments).exit_code == 0
    assert f"image: {image}" in (tmp_path / "new" / "inference_service.yaml").read_text().replace("'", "")


def test_what_cannot_be_bundled_is_refused_and_writes_nothing(color_model: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    assert isinstance(refused(str(color_model), "--out", str(tmp_path / "full")), UsageError)
    assert "two models" in str(refused(f"a={color_model}", f"a={color_model}", "--out", str(tmp_path / "new")))
    assert "no file or folder" in str(refused(str(tmp_path / "nothing"), "--out", str(tmp_path / "new")))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["full"]


@pytest.mark.parametrize("name", ["photos", "A_b.C", "-x-", "é", "n" * 90])
def test_names_of_services_are_what_kubernetes_takes(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", service_name(name))
