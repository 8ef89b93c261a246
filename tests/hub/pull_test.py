"""`moxie pull` against a server that speaks the hub's protocol."""

import hashlib
import os
import signal
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from hub_testing import HubTest, main, noise  # noqa: E402

MB = 1 << 20
CONFIG = b'{"model_type": "llama"}\n'


class Layout(HubTest):
    def test_one_file_lies_as_huggingface_hub_puts_it(self):
        self.hub.add("org/one", {"model.gguf": noise(9 * MB), "README.md": b"read me\n"})
        out = self.pull("org/one")
        repo = self.hub.repos["org/one"]
        self.assertEqual(Path(out), self.repo_folder("org/one") / "snapshots" / repo.commit / "model.gguf")
        self.assert_cached("org/one", ["model.gguf"])
        self.assertFalse((Path(out).parent / "README.md").exists())
        sha = hashlib.sha256(repo.files["model.gguf"]).hexdigest()
        self.assertTrue((self.cache / ".locks" / "models--org--one" / f"{sha}.lock").exists())
        self.assertTrue((self.cache / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55"))
        self.assertEqual(sorted(p.name for p in (self.repo_folder("org/one") / "blobs").iterdir()), [sha])

    def test_several_connections_fetch_ranges_from_the_storage(self):
        self.hub.add("org/one", {"model.gguf": noise(33 * MB)})
        self.pull("org/one", "--connections", 4)
        self.assert_cached("org/one")
        ranges = [h["Range"] for o, m, _, h in self.hub.requests if o == "storage" and m == "GET"]
        self.assertEqual(len(ranges), 9)  # pieces of 4 MiB
        self.assertEqual(len(set(ranges)), 9)
        self.assertEqual(self.hub.count("hub", "HEAD"), 1)  # one signed address serves them all

    def test_second_pull_fetches_nothing(self):
        self.hub.add("org/one", {"model.gguf": noise(MB)})
        self.pull("org/one")
        before = self.hub.count("storage", "GET")
        _, _, err = self.run_moxie("pull", "org/one")
        self.assertIn("everything was there", err)
        self.assertEqual(self.hub.count("storage", "GET"), before)

    def test_safetensors_come_with_what_they_need_alone(self):
        side = {"config.json": CONFIG, "tokenizer.json": b"{}", "tokenizer_config.json": b"{}\n",
                "generation_config.json": b" {}", "model.safetensors.index.json": b'{"weight_map": {}}'}
        shards = {f"model-0000{i}-of-00002.safetensors": noise(MB, i) for i in (1, 2)}
        rest = {"README.md": b"x", "pytorch_model.bin": noise(70000), "consolidated.00.safetensors": noise(70000),
                "figures/loss.png": b"png", "onnx/model.onnx": b"o"}
        self.hub.add("org/st", side | shards | rest)
        out = self.pull("org/st")
        found = sorted(str(p.relative_to(out)) for p in Path(out).rglob("*"))
        self.assertEqual(found, sorted(side | shards))
        self.assert_cached("org/st", found)

    def test_all_parts_of_a_split_gguf(self):
        parts = {f"Q4_K_M/m-Q4_K_M-0000{i}-of-00003.gguf": noise(100000, i) for i in (1, 2, 3)}
        self.hub.add("org/split", parts | {"Q8_0/m-Q8_0-00001-of-00001.gguf": noise(100000, 9)})
        out = self.pull("org/split:Q4_K_M")
        self.assertTrue(out.endswith("Q4_K_M/m-Q4_K_M-00001-of-00003.gguf"), out)
        self.assert_cached("org/split", parts)
        self.pull("org/split:Q8_0/m-Q8_0-00001-of-00001.gguf")

    def test_quantization_file_and_pattern(self):
        files = {f"m.{q}.gguf": noise(70000 + i) for i, q in enumerate(("Q2_K", "Q4_K_M", "Q4_K_S", "Q8_0"))}
        self.hub.add("org/q", files)
        self.assertTrue(self.pull("org/q:q4_k_m").endswith("m.Q4_K_M.gguf"))
        self.assertTrue(self.pull("org/q:m.Q2_K.gguf").endswith("m.Q2_K.gguf"))
        self.assertTrue(self.pull("org/q", "Q8_0").endswith("m.Q8_0.gguf"))
        out = self.pull("org/q:*Q4_K*gguf")
        self.assertTrue((Path(out) / "m.Q4_K_S.gguf").exists())
        self.assert_cached("org/q")

    def test_several_models_are_listed_with_what_fits(self):
        self.hub.add("org/q", {"m.Q2_K.gguf": noise(70000), "m.Q8_0.gguf": noise(2 * MB)})
        code, out, err = self.run_moxie("pull", "org/q")
        self.assertEqual(code, 2)
        lines = [line.strip() for line in out.splitlines()]
        self.assertTrue(lines[1].startswith("Q2_K"), out)  # the smallest first
        self.assertIn("2.0 MiB", lines[2])
        self.assertIn("fits in memory", lines[2])
        self.assertIn("moxie pull org/q:Q2_K", err)
        self.assertEqual(self.hub.count("storage", "GET"), 0)

    def test_revision_with_a_slash_and_a_commit(self):
        repo = self.hub.add("org/rev", {"m.gguf": noise(70000)}, revisions=("main", "refs/pr/7"))
        self.pull("org/rev@refs/pr/7")
        self.assertEqual((self.repo_folder("org/rev") / "refs/refs/pr/7").read_text(), repo.commit)
        self.pull("org/rev", "--revision", repo.commit)
        self.assertFalse((self.repo_folder("org/rev") / "refs" / repo.commit).exists())

    def test_renamed_repository(self):
        self.hub.add("org/after", {"m.gguf": noise(70000)})
        self.hub.moved["org/before"] = "org/after"
        self.assertTrue(Path(self.pull("org/before")).exists())

    def test_names_that_leave_the_folder_are_not_pulled(self):
        self.hub.add("org/evil", {"../../evil.gguf": noise(70000), "/etc/evil.gguf": noise(70000), "m.gguf": noise(70000)})
        self.pull("org/evil", "--all-files")
        self.assertEqual([p.name for p in self.folder.rglob("*evil.gguf")], [])

    def test_file_of_no_bytes_and_one_whose_size_is_not_told(self):
        self.hub.add("org/odd", {"config.json": CONFIG, "empty.txt": b"", "m.safetensors": noise(200000)})
        self.hub.no_sizes = True
        out = self.pull("org/odd", "--all-files")
        self.assertEqual((Path(out) / "empty.txt").read_bytes(), b"")
        self.assert_cached("org/odd")


class HuggingfaceCli(HubTest):
    def test_local_dir_with_its_metadata(self):
        repo = self.hub.add("org/q", {"m.Q4_K_M.gguf": noise(5 * MB), "sub/config.json": CONFIG})
        out = self.pull("org/q", "m.Q4_K_M.gguf", "--local-dir", ".", "--local-dir-use-symlinks", "False")
        self.assertEqual((self.folder / out).resolve(), (self.folder / "m.Q4_K_M.gguf").resolve())
        self.pull("org/q", "sub/config.json", "--local-dir", ".")
        for path in repo.files:
            self.assertEqual((self.folder / path).read_bytes(), repo.files[path])
            self.assertFalse((self.folder / path).is_symlink())
            noted = (self.folder / ".cache/huggingface/download" / f"{path}.metadata").read_text().splitlines()
            self.assertEqual(noted[0], repo.commit)
            self.assertAlmostEqual(float(noted[2]), time.time(), delta=60)
        self.assertEqual(list(self.folder.rglob("*.incomplete")), [])
        self.assertFalse(self.repo_folder("org/q").exists())

    def test_local_file_that_is_there_is_compared_and_kept(self):
        repo = self.hub.add("org/q", {"m.gguf": noise(MB)})
        (self.folder / "m.gguf").write_bytes(repo.files["m.gguf"])
        self.pull("org/q", "--local-dir", ".")
        self.assertEqual(self.hub.count("storage", "GET"), 0)
        (self.folder / "m.gguf").write_bytes(noise(MB, 2))  # the same length, noted as right: only --verify looks
        self.pull("org/q", "--local-dir", ".", "--verify")
        self.assertEqual((self.folder / "m.gguf").read_bytes(), repo.files["m.gguf"])

    def test_include_and_exclude(self):
        files = {f"m.{q}.gguf": noise(70000) for q in ("Q2_K", "Q4_K_M", "Q4_K_S")} | {"a.json": CONFIG, "b.txt": b"b"}
        self.hub.add("org/q", files)
        out = Path(self.pull("org/q", "--include", "*Q4_K*gguf", "*.json", "--exclude", "*_S*"))
        self.assertEqual(sorted(p.name for p in out.iterdir()), ["a.json", "m.Q4_K_M.gguf"])

    def test_hf_transfer_is_acknowledged(self):
        self.hub.add("org/q", {"m.gguf": noise(70000)})
        _, _, err = self.run_moxie("pull", "org/q", HF_HUB_ENABLE_HF_TRANSFER="1")
        self.assertIn("HF_HUB_ENABLE_HF_TRANSFER", err)


class Access(HubTest):
    def setUp(self):
        super().setUp()
        self.hub.add("org/private", {"m.gguf": noise(5 * MB), "config.json": CONFIG}, private=True)

    def test_token_from_variable_flag_and_file(self):
        self.pull("org/private", HF_TOKEN="right-token")
        self.pull("org/private", "--token", "right-token", "--force-download")
        (self.folder / "home" / "token").write_text("right-token\n")
        self.pull("org/private", "--force-download")

    def test_token_never_goes_to_the_storage(self):
        self.pull("org/private", "--all-files", HF_TOKEN="right-token")
        storage = [h for o, _, _, h in self.hub.requests if o == "storage"]
        self.assertGreater(len(storage), 0)
        self.assertTrue(all("Authorization" not in h for h in storage))
        self.assertTrue(all(h.get("Authorization") == "Bearer right-token" for o, _, _, h in self.hub.requests if o == "hub"))

    def test_errors_say_what_to_do(self):
        gated = {"m.gguf": noise(70000)}
        self.hub.add("org/gated", gated, gated=True)
        self.hub.add("org/asked", gated, gated="asked")
        self.hub.add("org/files", {"model-Q4_K_M.gguf": noise(70000), "model-Q8_0.gguf": noise(70000)})
        self.hub.add("org/pickle", {"pytorch_model.bin": noise(70000), "config.json": CONFIG})
        right = {"HF_TOKEN": "right-token"}
        for arguments, environment, status, words in (
            (["org/private"], {}, 3, ("no repository 'org/private', or it is private", "HF_TOKEN")),
            (["org/none"], right, 3, ("no repository 'org/none'", "what the token may read")),
            (["org/private"], {"HF_TOKEN": "wrong"}, 8, ("does not take the token", "/settings/tokens")),
            (["org/gated"], {}, 8, ("is gated", "terms have to be accepted", "HF_TOKEN", "/org/gated")),
            (["org/asked"], right, 8, ("is gated", "has not been given access", "/org/asked")),
            (["org/files@nope"], {}, 3, ("no revision 'nope'",)),
            (["org/files:model-Q4_K_N.gguf"], {}, 3, ("did you mean 'model-Q4_K_M.gguf'",)),
            (["org/files:Q5_K_M"], {}, 3, ("no file 'Q5_K_M'", "Q8_0")),
            (["org/files:*.bin"], {}, 3, ("no file of org/files matches '*.bin'", "model-Q8_0.gguf")),
            (["org/pickle"], {}, 5, ("PyTorch", "runs code")),
            (["not a name"], {}, 2, ("names no repository",)),
            ([], {}, 2, ("no repository is given",)),
        ):
            with self.subTest(arguments=arguments):
                err = self.pull(*arguments, status=status, **environment)
                for word in words:
                    self.assertIn(word, err)
                self.assertNotIn("right-token", err)

    def test_offline(self):
        err = self.pull("org/private", status=8, HF_HUB_OFFLINE="1")
        self.assertIn("HF_HUB_OFFLINE", err)
        out = self.pull("org/private", HF_TOKEN="right-token")
        asked = len(self.hub.requests)
        self.assertEqual(self.pull("org/private", HF_HUB_OFFLINE="1"), out)
        self.assertEqual(len(self.hub.requests), asked)

    def test_no_server(self):
        err = self.pull("org/x", "--retries", 1, status=8, HF_ENDPOINT="http://127.0.0.1:9")
        self.assertIn("127.0.0.1:9", err)
        self.assertIn("try again", err)


class Faults(HubTest):
    def setUp(self):
        super().setUp()
        self.repo = self.hub.add("org/m", {"m.gguf": noise(20 * MB)})
        self.sha = hashlib.sha256(self.repo.files["m.gguf"]).hexdigest()
        self.partial = self.repo_folder("org/m") / "blobs" / f"{self.sha}.incomplete"

    def test_server_without_ranges(self):
        self.hub.no_ranges = True
        self.pull("org/m")
        self.assert_cached("org/m")

    def test_connections_that_break(self):
        self.hub.break_every, self.hub.break_times = 3 * MB, 4
        self.pull("org/m")
        self.assert_cached("org/m")

    def test_one_connection_that_breaks_and_a_server_without_ranges(self):
        self.hub.no_ranges, self.hub.break_every, self.hub.break_times = True, 19 * MB, 2
        self.pull("org/m", "--connections", 1)
        self.assert_cached("org/m")

    def test_connection_that_always_breaks_keeps_what_came(self):
        self.hub.break_every = 1000
        self.pull("org/m", "--connections", 1, "--retries", 1, status=8)
        self.assertGreater(self.partial.stat().st_size, 0)
        self.assertEqual(self.partial.read_bytes(), self.repo.files["m.gguf"][: self.partial.stat().st_size])
        self.hub.break_every = 0
        self.pull("org/m")
        self.assert_cached("org/m")

    def test_partial_file_of_another_client_is_gone_on_with(self):
        self.partial.parent.mkdir(parents=True)
        self.partial.write_bytes(self.repo.files["m.gguf"][: 15 * MB])
        _, _, err = self.run_moxie("pull", "org/m")
        self.assertIn("going on after 15.0 MiB", err)
        self.assert_cached("org/m")
        begins = [int(h["Range"].split("=")[1].split("-")[0]) for o, m, _, h in self.hub.requests if o == "storage"]
        self.assertEqual(min(begins), 15 * MB)

    def test_damaged_partial_file_is_fetched_again(self):
        self.partial.parent.mkdir(parents=True)
        self.partial.write_bytes(bytes(15 * MB))
        _, _, err = self.run_moxie("pull", "org/m")
        self.assertIn("was damaged", err)
        self.assert_cached("org/m")
        self.assertFalse(self.partial.exists())

    def test_foreign_partial_files_are_left_alone(self):
        foreign = self.partial.with_name(f"{self.sha}.0123abcd.incomplete")
        foreign.parent.mkdir(parents=True)
        foreign.write_bytes(b"somebody's")
        self.pull("org/m")
        self.assertEqual(foreign.read_bytes(), b"somebody's")

    def test_wrong_content_is_never_visible(self):
        self.hub.wrong_bytes["m.gguf"] = noise(20 * MB, 2)
        err = self.pull("org/m", status=4)
        self.assertIn("digest", err)
        self.assertEqual([p for p in self.repo_folder("org/m").rglob("*") if p.is_file()], [])

    def test_wrong_length(self):
        for size in (19 * MB, 21 * MB):
            self.hub.wrong_size["m.gguf"] = size
            err = self.pull("org/m", "--retries", 2, status=4)
            self.assertIn(str(size), err)
            self.assert_no_rubbish(self.repo_folder("org/m"))
            self.hub.no_ranges = True
            self.assertIn(self.run_moxie("pull", "org/m", "--retries", 2)[0], (4, 8))
            self.assertFalse((self.partial.parent / self.sha).exists())
            self.hub.no_ranges = False

    def test_busy_server_is_waited_for(self):
        self.hub.busy_times, self.hub.retry_after = 2, 1
        start = time.monotonic()
        _, _, err = self.run_moxie("pull", "org/m")
        self.assertGreater(time.monotonic() - start, 1.9)
        self.assertIn("429", err)
        self.assert_cached("org/m")

    def test_server_that_asks_for_too_long_a_wait(self):
        self.hub.busy_times, self.hub.retry_after = 1, 3600
        err = self.pull("org/m", status=8)
        self.assertIn("3600 s", err)

    def test_server_in_trouble(self):
        self.hub.hub_error = 503
        err = self.pull("org/m", "--retries", 2, status=8)
        self.assertIn("503", err)

    def test_signed_address_that_expires(self):
        self.hub.expire_times = 2
        self.pull("org/m")
        self.assert_cached("org/m")
        self.assertGreater(self.hub.count("hub", "HEAD"), 1)

    def test_blob_damaged_later_is_repaired(self):
        link = Path(self.pull("org/m"))
        blob = link.resolve()
        data = bytearray(blob.read_bytes())
        data[5 * MB] ^= 1
        blob.write_bytes(data)
        self.pull("org/m")  # believed by its size
        self.assertNotEqual(blob.read_bytes(), self.repo.files["m.gguf"])
        self.pull("org/m", "--verify")
        self.assert_cached("org/m")

    def test_truncated_blob_is_repaired_without_asking(self):
        blob = Path(self.pull("org/m")).resolve()
        os.truncate(blob, 5 * MB)
        self.pull("org/m")
        self.assert_cached("org/m")

    def test_another_process_is_waited_for(self):
        self.hub.bytes_a_second = 4 * MB
        first = self.start("pull", "org/m", "--connections", 1)
        while not self.partial.exists():
            time.sleep(0.02)
        second = self.start("pull", "org/m")
        out1, err1 = first.communicate(timeout=60)
        out2, err2 = second.communicate(timeout=60)
        self.assertEqual((first.returncode, second.returncode), (0, 0), err1 + err2)
        self.assertIn("another process", err2)
        self.assertEqual(out1, out2)
        self.assert_cached("org/m")


class Killed(HubTest):
    def setUp(self):
        super().setUp()
        files = {f"model-0000{i}-of-00002.safetensors": noise(12 * MB, i) for i in (1, 2)}
        self.repo = self.hub.add("org/m", files | {"config.json": CONFIG, "tokenizer.json": noise(100000, 5)})

    def test_interrupt_keeps_what_came(self):
        self.hub.bytes_a_second = 2 * MB
        process = self.start("pull", "org/m")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn("goes on with it", err)
        self.hub.bytes_a_second = 0
        self.pull("org/m")
        self.assert_cached("org/m")

    def test_killed_at_random_moments(self):
        self.hub.bytes_a_second = 8 * MB
        moments = [0.02 + 0.05 * i for i in range(12)]
        for moment in moments:
            process = self.start("pull", "org/m", "--connections", 3)
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=20)
            folder = self.repo_folder("org/m")
            self.assert_no_rubbish(folder)
            if (folder / "refs" / "main").exists():  # the name is there only when all files are
                self.assert_cached("org/m")
            for partial in folder.rglob("*.incomplete"):  # always the beginning of the whole
                data = partial.read_bytes()
                self.assertTrue(any(whole.startswith(data) for whole in self.repo.files.values()))
        self.hub.bytes_a_second = 0
        self.pull("org/m")
        self.assert_cached("org/m")
        self.assertEqual(list(self.cache.rglob("*.incomplete")), [])


if __name__ == "__main__":
    main()
