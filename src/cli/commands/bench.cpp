#include <algorithm>
#include <chrono>
#include <random>

#include "cli/bench_report.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/hub_options.h"
#include "cli/interruption.h"
#include "cli/model_options.h"
#include "cli/url_bench.h"
#include "cli/version.h"
#include "core/fail.h"
#include "core/memory_info.h"
#include "kernels/compute_peak.h"
#include "kernels/memory_bandwidth.h"
#include "kernels/select.h"

namespace moxie::cli::commands {
namespace {

constexpr uint64_t kBandwidthBytes = uint64_t{512} << 20;      // several times any last cache of the machines aimed at
constexpr uint64_t kLeastBandwidthBytes = uint64_t{64} << 20;  // less says more of caches than of memory
constexpr uint64_t kBesideBandwidth = uint64_t{8} << 20;       // page tables, stacks, what measuring arithmetic takes
constexpr int kLimitPasses = 7;

// Which cache type, with how many threads: each opens the model anew.
struct Setting {
  int64_t threads;
  std::string cache_type;
};

class Bench final : public Command {
 public:
  void flags(FlagSet& flags) override {
    flags_ = &flags;
    model_.add_header_flags(flags);
    flags.add("cpu-target", model_.engine.cpu_target);
    flags.toggle("fast", model_.engine.fast);
    flags.add("ubatch-size", model_.engine.ubatch_size);
    flags.add("batch-size", model_.engine.batch_size);
    for (const char* name : {"cache-type-k", "cache-type-v"}) {
      flags.on(
          name,
          [this](const std::string& value) -> Result<void> {
            cache_types_.clear();
            for (size_t at = 0; at <= value.size();) {
              const size_t end = std::min(value.find(',', at), value.size());
              cache_types_.push_back(value.substr(at, end - at));
              at = end + 1;
            }
            return {};
          },
          "f16", "types of the KV cache to measure: f32, f16, q8_0; K and V share one");
    }
    flags.toggle("mmap", model_.engine.mmap);
    flags.toggle("no-mmap", model_.engine.mmap, false);
    model_.add_expert_flags(flags);
    flags.add("trace-routing", model_.engine.trace_routing);
    flags.group("measurement");
    for (const char* name : {"prompt", "n-prompt"})
      flags.add(name, prompts_, "prompt lengths to measure: 128,512; 0: none");
    for (const char* name : {"predict", "n-gen"})
      flags.add(name, generations_, "numbers of generated tokens to measure; 0: none");
    flags.add("n-depth", depths_);
    for (const char* name : {"reverse-prompt", "repetitions"}) {
      flags.on(
          name,
          [this](const std::string& value) -> Result<void> {
            MOXIE_TRY(repetitions_, parse_integer(value));
            return {};
          },
          "5", "how often each is measured; medians are shown");
    }
    flags.add("threads", threads_,
              "numbers of threads to measure: 1,2,4; 0: as many as this process has physical cores");
    flags.on(
        "output",
        [this](const std::string& value) -> Result<void> {
          if (value != "md" && value != "json")
            return fail(ErrorCode::invalid_argument, "'{}' is no form; there are md and json", value);
          json_ = value == "json";
          return {};
        },
        "md", "md or json");
    flags.toggle("json", json_, true, "as -o json");
    flags.group("a server");
    flags.add("url", url_.url);
    flags.add("api-key", url_.api_key, "the key that the server at --url wants");
    flags.add("clients", url_.clients);
    flags.toggle("no-tools", url_.tools, false);
  }

  Result<int> run() override {
    MOXIE_TRY_VOID(check());
    MOXIE_TRY_VOID(check_place());
    if (!url_.url.empty()) return run_url();
    Interruption interruption;
    BenchReport report = {.version = std::string(version()), .repetitions = repetitions_};
    for (const Setting& setting : settings()) {
      model_.engine.threads = static_cast<int>(setting.threads);
      model_.engine.ctx_size = context_needed();
      model_.engine.warm = false;  // drawn tokens: not what the user's next run will want
      model_.cache_type_k = model_.cache_type_v = setting.cache_type;
      MOXIE_TRY(auto engine, open_engine(model_, &interruption.flag()));
      MOXIE_TRY(auto sequence, engine->new_sequence());
      interruption.attach(sequence.get());
      std::vector<Measurement> measured;
      const auto result = measure(*engine, *sequence, setting, measured);
      interruption.attach(nullptr);
      MOXIE_TRY_VOID(result);
      report.cpu_target = engine->runtime().cpu_target;
      report.fast = engine->runtime().fast;
      report.head =
          fmt::format("{}: {}, {} parameters, {} of weights, {} of them read for a token; {}{}", engine->model().path,
                      engine->model().family, human_count(engine->model().parameters),
                      human_bytes(engine->model().weight_bytes), human_bytes(engine->model().active_bytes_per_token),
                      engine->runtime().cpu_target, report.fast ? ", --fast" : "");
      const RuntimeInfo runtime = engine->runtime();
      const uint64_t budget = engine->memory().budget;
      sequence.reset();
      engine.reset();
      MOXIE_TRY(const MachineLimits limits, measure_limits(runtime, budget));
      for (Measurement& one : measured) {
        one.limits = limits;
        report.measurements.push_back(std::move(one));
      }
    }
    MOXIE_TRY_VOID(print(json_ ? report.json() : report.markdown()));
    return 0;
  }

 private:
  Result<void> check() const {
    if (repetitions_ < 1 || repetitions_ > 1000) {
      return fail(ErrorCode::invalid_argument, "{} repetitions are none of 1 to 1000", repetitions_);
    }
    if (threads_.empty()) return fail(ErrorCode::invalid_argument, "-t names no number of threads");
    if (!model_.engine.trace_routing.empty() && settings().size() > 1) {
      return fail(ErrorCode::invalid_argument,
                  "--trace-routing records one opening of the model, and {} are asked for; give one -t and one -ctk",
                  settings().size());
    }
    if (depths_.empty()) return fail(ErrorCode::invalid_argument, "-d names no depth; 0 is an empty context");
    for (const int64_t threads : threads_) {
      if (threads < 0 || threads > 4096)
        return fail(ErrorCode::invalid_argument, "{} is no number of threads from 0 to 4096", threads);
    }
    for (const auto* lengths : {&prompts_, &generations_, &depths_}) {
      for (const int64_t length : *lengths) {
        if (length < 0 || length > (int64_t{1} << 24)) {
          return fail(ErrorCode::invalid_argument, "{} is no number of tokens from 0 to {}", length, int64_t{1} << 24);
        }
      }
    }
    return {};
  }

  // A server is measured, or a model here: what belongs to the other would be ignored.
  Result<void> check_place() const {
    static constexpr std::string_view kOfServers[] = {"url", "api-key", "clients", "no-tools"};
    static constexpr std::string_view kOfBoth[] = {"model",   "prompt",      "n-prompt",       "predict", "n-gen",
                                                   "verbose", "repetitions", "reverse-prompt", "output",  "json"};
    const auto is_in = [](std::string_view name, std::span<const std::string_view> names) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    const bool server = is_in("url", flags_->given());
    if (server && url_.url.empty())
      return fail(ErrorCode::invalid_argument, "--url is empty; give a server's address, or leave it out");
    for (const std::string_view name : flags_->given()) {
      if (server && !is_in(name, kOfServers) && !is_in(name, kOfBoth)) {
        return fail(ErrorCode::invalid_argument,
                    "--{} is of a model that is opened here; what --url leads to is opened by its server: leave it out",
                    name);
      }
      if (!server && is_in(name, kOfServers))
        return fail(ErrorCode::invalid_argument, "--{} is of a server; give its address with --url", name);
    }
    return {};
  }

  Result<int> run_url() {
    if (prompts_.size() != 1 || generations_.size() != 1)
      return fail(ErrorCode::invalid_argument, "with --url, -p and -n take one number each");
    url_.prompt_tokens = prompts_[0];
    url_.max_tokens = generations_[0];
    url_.repetitions = repetitions_;
    url_.trusted = environment_hub().trusted;
    url_.model = model_.positional.empty() ? model_.engine.model : model_.positional;
    if (url_.prompt_tokens < 1 || url_.max_tokens < 1)
      return fail(ErrorCode::invalid_argument, "with --url, -p and -n must be 1 or more");
    for (const int64_t clients : url_.clients) {
      if (clients < 1 || clients > 1024)
        return fail(ErrorCode::invalid_argument, "{} clients are none of 1 to 1024", clients);
    }
    Interruption interruption;
    MOXIE_TRY(const UrlReport report, bench_url(url_, &interruption.flag()));
    MOXIE_TRY_VOID(print(json_ ? report.json() : report.markdown()));
    return 0;
  }

  std::vector<Setting> settings() const {
    std::vector<Setting> all;
    for (const int64_t threads : threads_) {
      for (const std::string& type : cache_types_) all.push_back({threads, type});
    }
    return all;
  }

  int64_t context_needed() const {
    int64_t longest = 1;
    for (const int64_t length : prompts_) longest = std::max(longest, length);
    for (const int64_t length : generations_) longest = std::max(longest, length + 1);
    return longest + *std::max_element(depths_.begin(), depths_.end());
  }

  // REQUIRES: the engine is closed: what is read here has the place that the model had in the budget.
  static Result<MachineLimits> measure_limits(const RuntimeInfo& runtime, uint64_t budget) {
    ThreadPool pool(runtime.threads);
    const MemoryInfo memory = read_memory_info();
    uint64_t bytes = std::min(kBandwidthBytes, memory.room_bytes().value_or(kBandwidthBytes * 4) / 4);
    if (budget > 0) {
      const uint64_t taken = memory.resident_bytes.value_or(0) + kBesideBandwidth;
      bytes = std::min(bytes, budget > taken ? budget - taken : 0);
    }
    MachineLimits limits;
    MOXIE_TRY(const CpuTarget* target, select_cpu_target(runtime.cpu_target));
    if (bytes >= kLeastBandwidthBytes) {
      MOXIE_TRY(limits.memory, measure_read_passes(pool, *target->kernels, bytes, kLimitPasses));
    }
    ComputePeak peak = measure_compute_peak(pool, *target->kernels, kLimitPasses, runtime.fast);
    limits.integer_products = std::move(peak.int8_products);
    limits.float_products = std::move(peak.float_products);
    limits.bf16_products = std::move(peak.bf16_products);
    return limits;
  }

  Result<void> measure(const Engine& engine, Sequence& sequence, const Setting& setting,
                       std::vector<Measurement>& all) const {
    for (const int64_t depth : depths_) {
      MOXIE_TRY_VOID(sequence.truncate(0));
      if (depth > 0) MOXIE_TRY_VOID(sequence.append(drawn_ids(engine, depth, 2)));
      for (const bool prompt : {true, false}) {
        for (const int64_t tokens : prompt ? prompts_ : generations_) {
          if (tokens == 0) continue;
          Measurement one = {.prompt = prompt,
                             .tokens = tokens,
                             .depth = depth,
                             .threads = engine.runtime().threads,
                             .threads_why = engine.runtime().threads_why,
                             .cache_type = setting.cache_type};
          add_costs(engine, one);
          // Pages and caches become warm.
          MOXIE_TRY_VOID(once(engine, sequence, prompt, std::min<int64_t>(tokens, prompt ? tokens : 4), depth));
          const ExpertStats before = engine.expert_stats();
          for (int64_t i = 0; i < repetitions_; ++i) {
            MOXIE_TRY(const double seconds, once(engine, sequence, prompt, tokens, depth));
            one.rates.push_back(static_cast<double>(tokens) / seconds);
          }
          const ExpertStats after = engine.expert_stats();
          one.mode = after.mode;
          one.streaming = after.streaming;
          one.disk_bytes = after.bytes_read - before.bytes_read;
          one.hits = after.hits - before.hits;
          one.misses = after.misses - before.misses;
          std::sort(one.rates.begin(), one.rates.end());
          all.push_back(std::move(one));
        }
      }
    }
    return {};
  }

  // The context grows meanwhile: on average half of what is added is seen, and half of it read from the cache.
  static void add_costs(const Engine& engine, Measurement& one) {
    const uint64_t seen = static_cast<uint64_t>(one.depth + one.tokens / 2 + 1);
    const ModelInfo& model = engine.model();
    // Of a prompt only the last token passes the whole last layer and the output matrix.
    const double without_output = one.prompt ? 1 - 1 / static_cast<double>(one.tokens) : 0;
    const auto products = [&](uint64_t all, uint64_t output) {
      return static_cast<double>(all) - without_output * static_cast<double>(output);
    };
    one.integer_products = products(model.integer_products, model.output_integer_products);
    one.bf16_products = products(model.bf16_products, model.output_bf16_products);
    one.float_products = products(model.float_products + model.attention_products * seen,
                                  model.output_float_products + model.output_attention_products * seen);
    if (!one.prompt) one.bytes = model.active_bytes_per_token + engine.runtime().kv_bytes_per_token * seen;
  }

  // Spread over the vocabulary, so that experts are used as in real text.
  static std::vector<int32_t> drawn_ids(const Engine& engine, int64_t count, uint32_t seed) {
    std::mt19937 random(seed);
    const auto vocabulary = static_cast<uint32_t>(engine.model().vocabulary);
    std::vector<int32_t> ids(static_cast<size_t>(count));
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % vocabulary);
    return ids;
  }

  // Seconds for `tokens` after `depth` others, all at once or one by one.
  static Result<double> once(const Engine& engine, Sequence& sequence, bool prompt, int64_t tokens, int64_t depth) {
    const std::vector<int32_t> ids = drawn_ids(engine, tokens, 1);
    MOXIE_TRY_VOID(sequence.truncate(depth));
    if (!prompt && depth == 0) MOXIE_TRY_VOID(sequence.append(std::span(ids).first(1)));
    const auto start = std::chrono::steady_clock::now();
    if (prompt) {
      MOXIE_TRY_VOID(sequence.append(ids));
    } else {
      for (const int32_t& id : ids) MOXIE_TRY_VOID(sequence.append(std::span(&id, 1)));
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  const FlagSet* flags_ = nullptr;
  ModelOptions model_;
  UrlBenchOptions url_;
  std::vector<int64_t> prompts_ = {512}, generations_ = {64}, depths_ = {0}, threads_ = {0};
  std::vector<std::string> cache_types_ = {"f16"};
  int64_t repetitions_ = 5;
  bool json_ = false;
};

}  // namespace

extern const CommandEntry bench = {
    .name = "bench",
    .summary = "measure the speed of prompts and generation beside what this machine's memory allows",
    .usage = "[MODEL] [-p LIST] [-n LIST] [-d LIST] [-t LIST] [-r N] [-o md|json] | --url URL [--clients LIST]",
    .detail =
        "ppN: a prompt of N tokens at once. tgN: N tokens one by one. @ dN: after N others. A generated token reads the dense\n"
        "weights, the experts it uses and the KV cache; memory allows at most its bandwidth over these bytes. A prompt reads\n"
        "weights once for many tokens; arithmetic allows at most the peak of the processor, int8 for quantized weights, float for\n"
        "others and for attention. Both limits are measured in the same run; the share is of the lower one.\n"
        "Where experts stream, what was read from disk for a token stands beside it. The ids are drawn: hits of real text are\n"
        "others.\n"
        "--url measures a server that speaks OpenAI's API instead: time to the first token and tokens/s of a new prompt of about\n"
        "-p tokens and of the same again, whether a tool call comes back well-formed, and several clients at once. MODEL is then\n"
        "the name that the server knows; without it the first that it lists.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Bench>(); },
};

}  // namespace moxie::cli::commands
