"""`moxie inspect hf:...` and `moxie plan hf:...`: headers alone, by range requests."""

import ast
import json
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from hub_testing import HubTest, main, noise  # noqa: E402

DATA = Path(__file__).resolve().parents[1] / "data"


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class Remote(HubTest):
    def inspect(self, model, *flags, **environment):
        code, out, err = self.run_moxie("inspect", model, "--json", "--tensors", "--metadata", *flags, **environment)
        self.assertEqual(code, 0, err)
        return json.loads(out), err

    def assert_same(self, remote, local):
        """All but where it lies."""
        for one in (remote, local):
            for file in one["files"]:
                file["path"] = Path(file["path"]).name
            del one["model"]
        self.assertEqual(remote, local)

    def test_safetensors_in_shards(self):
        folder = DATA / "golden" / "mixtral-shards"
        self.hub.add("org/shards", files_of(folder))
        remote, err = self.inspect("hf:org/shards")
        self.assertIn("were read over the network", err)
        local, _ = self.inspect(folder)
        self.assert_same(remote, local)
        self.assertGreater(len({tensor["file_name"] for tensor in remote["tensors"]}), 1)

    def test_quantized_checkpoint_whose_small_tensors_are_read(self):
        folder = DATA / "golden" / "mixtral-gptq3-order"
        self.hub.add("org/gptq", files_of(folder))
        self.assert_same(self.inspect("hf:org/gptq")[0], self.inspect(folder)[0])

    def test_gguf_and_one_of_several(self):
        names = ("merged.gguf", "split.gguf", "q8_0.gguf")
        files = {name: (DATA / "golden" / "mixtral" / name).read_bytes() for name in names}
        self.hub.add("org/gguf", files | {"README.md": b"x"})
        for name in files:
            remote, _ = self.inspect(f"hf:org/gguf:{name}")
            self.assert_same(remote, self.inspect(DATA / "golden" / "mixtral" / name)[0])
        code, _, err = self.run_moxie("inspect", "hf:org/gguf")
        self.assertEqual(code, 2)
        for name in ("Q8_0", "merged.gguf", "split.gguf"):
            self.assertIn(name, err)

    def test_large_file_costs_its_header_alone(self):
        whole = (DATA / "golden" / "mixtral" / "q8_0.gguf").read_bytes()
        header = json.dumps({"x": {"dtype": "F32", "shape": [25, 1 << 20], "data_offsets": [0, 100 << 20]}}).encode()
        large = len(header).to_bytes(8, "little") + header + bytes(100 << 20)
        config = (DATA / "golden" / "mixtral" / "config.json").read_bytes()
        self.hub.add("org/large", {"model.safetensors": large, "config.json": config, "pytorch_model.bin": whole})
        _, err = self.inspect("hf:org/large")
        ranges = [h["Range"] for o, m, _, h in self.hub.requests if o == "storage"]
        self.assertEqual(ranges, ["bytes=0-262143"])
        self.assertIn("of 100.0 MiB", err)

    def test_plan(self):
        folder = DATA / "golden" / "mixtral-shards"
        self.hub.add("org/shards", files_of(folder))
        tables = []
        for model in ("hf:org/shards", folder):
            code, out, err = self.run_moxie("plan", model, "--json", "--memory-bandwidth", 10, "-c", 64)
            self.assertEqual(code, 0, err)
            tables.append(json.loads(out))
        for key in ("weights", "parameters", "layers", "minimum_bytes", "resident_bytes"):
            self.assertEqual(tables[0][key], tables[1][key])

    def test_what_is_in_the_cache_is_used(self):
        folder = DATA / "golden" / "mixtral-shards"
        repo = self.hub.add("org/shards", files_of(folder))
        self.pull("org/shards")
        asked = len(self.hub.requests)
        remote, _ = self.inspect("hf:org/shards")
        self.assertEqual(len(self.hub.requests), asked)
        self.assertIn(repo.commit, remote["model"])
        self.inspect("hf:org/shards", HF_HUB_OFFLINE="1")

    def test_server_without_ranges_and_broken_connections(self):
        folder = DATA / "golden" / "mixtral-shards"
        self.hub.add("org/shards", files_of(folder))
        self.hub.no_ranges = True
        self.assert_same(self.inspect("hf:org/shards")[0], self.inspect(folder)[0])
        self.hub.no_ranges, self.hub.break_every, self.hub.break_times = False, 20000, 3
        self.assert_same(self.inspect("hf:org/shards")[0], self.inspect(folder)[0])

    def test_token_private_and_offline(self):
        folder = DATA / "golden" / "mixtral-shards"
        self.hub.add("org/private", files_of(folder), private=True)
        code, _, err = self.run_moxie("inspect", "hf:org/private")
        self.assertEqual(code, 3, err)
        self.inspect("hf:org/private", HF_TOKEN="right-token")
        self.assertTrue(all("Authorization" not in h for o, _, _, h in self.hub.requests if o == "storage"))
        self.assertEqual(self.run_moxie("inspect", "hf:org/private", HF_HUB_OFFLINE="1")[0], 8)

    def test_damaged_headers_are_named(self):
        self.hub.add("org/bad", {"model.safetensors": noise(100000), "config.json": b"{}"})
        code, _, err = self.run_moxie("inspect", "hf:org/bad")
        self.assertIn(code, (4, 5), err)
        self.assertIn(f"{self.hub.url}/org/bad/model.safetensors", err)


def read_npy(path):
    """Shape and float32 values of a NumPy file, version 1."""
    data = path.read_bytes()
    length = int.from_bytes(data[8:10], "little")
    header = ast.literal_eval(data[10 : 10 + length].decode())
    assert data[:8] == b"\x93NUMPY\x01\x00" and header["descr"] == "<f4" and not header["fortran_order"]
    body = data[10 + length :]
    return header["shape"], struct.unpack(f"<{len(body) // 4}f", body)


def read_safetensors(data, name):
    """Shape and values of a tensor, by the definition of the format."""
    length = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8 : 8 + length])[name]
    begin, end = entry["data_offsets"]
    raw = data[8 + length + begin : 8 + length + end]
    if entry["dtype"] == "BF16":  # the upper half of a float32
        raw = b"".join(b"\0\0" + raw[i : i + 2] for i in range(0, len(raw), 2))
    else:
        assert entry["dtype"] == "F32", entry
    return tuple(entry["shape"]), struct.unpack(f"<{len(raw) // 4}f", raw)


class Tensors(HubTest):
    NAME = "model.layers.1.block_sparse_moe.gate.weight"

    def shard_of(self, files, name):
        return json.loads(files["model.safetensors.index.json"])["weight_map"][name]

    def test_a_tensor_by_range(self):
        files = files_of(DATA / "golden" / "mixtral-shards")
        self.hub.add("org/shards", files)
        code, out, err = self.run_moxie("tensor", "hf:org/shards", self.NAME, "-o", "gate.npy")
        self.assertEqual(code, 0, err)
        shard = self.shard_of(files, self.NAME)
        self.assertIn(shard, out)
        self.assertEqual(read_npy(self.folder / "gate.npy"), read_safetensors(files[shard], self.NAME))

    def test_every_tensor_of_a_local_model(self):
        folder = DATA / "golden" / "mixtral-shards"
        files = files_of(folder)
        shard = self.shard_of(files, self.NAME)
        length = int.from_bytes(files[shard][:8], "little")
        for name in json.loads(files[shard][8 : 8 + length]):
            if name == "__metadata__":
                continue
            code, _, err = self.run_moxie("tensor", folder, name, "-o", "one.npy")
            self.assertEqual(code, 0, err)
            self.assertEqual(read_npy(self.folder / "one.npy"), read_safetensors(files[shard], name), name)

    def test_bf16_becomes_float32(self):
        values = struct.pack("<6H", 0x3F80, 0xC000, 0x0001, 0x7F7F, 0x8000, 0x3EAB)
        header = json.dumps({"x": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}).encode()
        data = len(header).to_bytes(8, "little") + header + values
        config = (DATA / "golden" / "mixtral" / "config.json").read_bytes()
        self.hub.add("org/bf16", {"model.safetensors": data, "config.json": config})
        self.assertEqual(self.run_moxie("tensor", "hf:org/bf16", "x", "-o", "x.npy")[0], 0)
        self.assertEqual(read_npy(self.folder / "x.npy"), read_safetensors(data, "x"))

    def test_unknown_name(self):
        code, _, err = self.run_moxie("tensor", DATA / "golden" / "mixtral-shards", self.NAME.replace("gate", "gaet"))
        self.assertEqual(code, 3)
        self.assertIn(f'did you mean "{self.NAME}"?', err)


if __name__ == "__main__":
    main()
