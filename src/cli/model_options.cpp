#include "cli/model_options.h"

#include <cstdlib>
#include <filesystem>

#include "cli/console.h"
#include "cli/find_model.h"
#include "cli/progress.h"
#include "core/fail.h"
#include "core/terminal.h"
#include "engine/model_facts.h"
#include "hub/hub_cache.h"

namespace moxie::cli {
namespace fs = std::filesystem;

namespace {

// By the XDG base directory specification, which has relative paths ignored. Empty: the environment names no place.
std::string cache_folder() {
  const auto absolute = [](const char* name) -> fs::path {
    const char* value = std::getenv(name);
    if (value == nullptr || !fs::path(value).is_absolute()) return {};
    return value;
  };
  if (const fs::path cache = absolute("XDG_CACHE_HOME"); !cache.empty()) return (cache / "moxie").string();
  if (const fs::path home = absolute("HOME"); !home.empty()) return (home / ".cache" / "moxie").string();
  return {};
}

}  // namespace

void ModelOptions::add_header_flags(FlagSet& flags) {
  flags.positional(
      "MODEL", positional,
      "model: a .gguf (any shard), a folder or index of safetensors, one .safetensors, or hf:, ollama:, lmstudio:, "
      "llamacpp: and a name");
  flags.group("model");
  flags.on("model", [this](const std::string& value) -> Result<void> {
    if (value.empty()) return fail(ErrorCode::invalid_argument, "the name is empty; give one, or leave the flag out");
    engine.model = value;
    return {};
  });
  flags.add("arch", engine.arch);
  flags.add("alias", alias);
  flags.toggle("verbose", verbose);
}

void ModelOptions::add_flags(FlagSet& flags) {
  add_header_flags(flags);
  flags.add("hf-repo", hf_repo);
  flags.add("hf-file", hf_file);
  flags.add("token", hf_token);
  flags.add("quantize", engine.quantize);
  flags.toggle("quantize-cache", engine.quantize_cache);
  flags.add("ctx-size", engine.ctx_size);
  flags.on(
      "threads",
      [this](const std::string& value) -> Result<void> {
        MOXIE_TRY(const int64_t threads, parse_integer(value));
        if (threads > 4096) return fail(ErrorCode::invalid_argument, "{} threads are more than 4096", threads);
        engine.threads = threads < 0 ? 0 : static_cast<int>(threads);
        return {};
      },
      "0");
  flags.add("cpu-target", engine.cpu_target);
  flags.toggle("fast", engine.fast);
  flags.add("batch-size", engine.batch_size);
  flags.add("ubatch-size", engine.ubatch_size);
  flags.add("cache-type-k", cache_type_k);
  flags.add("cache-type-v", cache_type_v);
  flags.toggle("mmap", engine.mmap);
  flags.toggle("no-mmap", engine.mmap, false);
  add_expert_flags(flags);
  flags.add("trace-routing", engine.trace_routing);
  flags.toggle("watch", watch);
}

void ModelOptions::add_expert_flags(FlagSet& flags) {
  flags.group("experts under a budget");
  flags.add("memory", engine.memory);
  flags.add("expert-slots", engine.expert_slots);
  flags.add("policy", engine.policy);
  flags.add("lookahead", engine.lookahead);
  flags.add("io-backend", engine.io_backend);
  flags.add("io-threads", engine.io_depth);
  flags.add("io-piece", engine.io_piece);
  flags.toggle("direct-io", engine.direct_io);
  flags.toggle("no-direct-io", engine.direct_io, false);
  flags.toggle("no-warm", engine.warm, false);
  flags.add("pin", engine.pin);
  flags.add("pin-top", engine.pin_top);
  flags.toggle("skip-missing", engine.skip_missing);
  flags.add("cache-prior", engine.cache_prior);
  flags.add("top1-threshold", engine.top1_threshold);
  flags.toggle("verify", engine.verify);
}

namespace {

// "hf:org/name:Q4_K_M". Errors: invalid_argument for what can be no name, and for a file and a quantization.
Result<std::string> hub_reference(const ModelOptions& options) {
  MOXIE_TRY(HubReference reference, parse_hub_reference(options.hf_repo));
  if (!options.hf_file.empty()) {
    if (!reference.file.empty() && reference.file != options.hf_file) {
      return fail(ErrorCode::invalid_argument, "two files are given, -hf {} and --hf-file {}; leave one out",
                  options.hf_repo, options.hf_file);
    }
    reference.file = options.hf_file;
  }
  return reference.text();
}

}  // namespace

Result<std::string> choose_model(const ModelOptions& options) {
  if (options.hf_repo.empty() && !options.hf_file.empty())
    return fail(ErrorCode::invalid_argument, "--hf-file {} is a file of what? give -hf ORG/NAME too", options.hf_file);
  if (!options.hf_repo.empty()) {
    if (!options.positional.empty() || !options.engine.model.empty()) {
      return fail(ErrorCode::invalid_argument, "two models are given, '{}' and -hf '{}'; leave one out",
                  options.positional.empty() ? options.engine.model : options.positional, options.hf_repo);
    }
    return hub_reference(options);
  }
  const std::string& flag = options.engine.model;
  if (!options.positional.empty() && !flag.empty() && options.positional != flag) {
    return fail(ErrorCode::invalid_argument, "two models are given, '{}' and -m '{}'; leave one out",
                options.positional, flag);
  }
  if (!options.positional.empty()) return options.positional;
  if (!flag.empty()) return flag;

  const fs::path program = executable_path();
  std::string places;
  for (const char* beside : {"../models/demo", "../share/moxie/models/demo"}) {
    if (program.empty()) break;
    const fs::path folder = (program.parent_path() / beside).lexically_normal();
    std::error_code ignored;
    if (fs::exists(folder / "config.json", ignored)) return folder.string();
    places += fmt::format("{}{}", places.empty() ? "" : " or ", folder.string());
  }
  return fail(ErrorCode::not_found, "no model is given, and there is no demo model{}; give MODEL or -m MODEL",
              places.empty() ? "" : " in " + places);
}

Result<void> settle(ModelOptions& options) {
  MOXIE_TRY(const std::string chosen, choose_model(options));
  MOXIE_TRY(options.engine.model, find_model(chosen, {.download = !options.hf_repo.empty(),
                                                      .token = options.hf_token,
                                                      .interrupted = options.interrupted}));
  options.positional.clear();
  options.hf_repo.clear();
  options.hf_file.clear();
  if (!options.alias.empty()) {
    if (is_architecture(options.alias)) {
      note(fmt::format("-a {} is {}: taken as --arch {}", options.alias,
                       is_family(options.alias) ? "a family" : "an architecture", options.alias));
      options.engine.arch = options.alias;
    } else {
      note(fmt::format("-a {} has no effect: no family has this name, and a name to show is for servers",
                       options.alias));
    }
    options.alias.clear();
  }
  std::string& k = options.cache_type_k;
  std::string& v = options.cache_type_v;
  if (!k.empty() && !v.empty() && k != v) {
    return fail(ErrorCode::unsupported,
                "cache types {} for K and {} for V: both share one type; give the same for both", k, v);
  }
  if (k.empty() != v.empty()) {
    note(fmt::format("--cache-type-{} {} is used for K and V: both share one type", k.empty() ? 'v' : 'k',
                     k.empty() ? v : k));
  }
  if (!k.empty() || !v.empty()) options.engine.cache_type = k.empty() ? v : k;
  k.clear();
  v.clear();
  return {};
}

Result<std::unique_ptr<Engine>> open_engine(ModelOptions& options, const std::atomic<bool>* interrupted) {
  options.interrupted = interrupted;
  MOXIE_TRY_VOID(settle(options));
  // The engine keeps these functions, so they own what they use.
  const auto progress = std::make_shared<Progress>();
  options.engine.on_progress = [progress, interrupted](uint64_t done, uint64_t total) {
    progress->update(done, total);
    return !(interrupted && interrupted->load());
  };
  options.engine.on_log = [progress, verbose = options.verbose](Severity severity, std::string_view text) {
    if (severity != Severity::warning && !verbose) return;
    progress->clear();
    note(text);
  };
  options.engine.cache_folder = cache_folder();
  auto engine = Engine::open(options.engine);
  progress->clear();
  if (engine.ok() && options.engine.warm && options.engine.cache_folder.empty() &&
      (*engine)->expert_stats().streaming) {
    note("neither XDG_CACHE_HOME nor HOME names a folder: the next run starts without the experts of this one");
  }
  return engine;
}

}  // namespace moxie::cli
