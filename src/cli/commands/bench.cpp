#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <random>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/interruption.h"
#include "cli/model_options.h"
#include "cli/table.h"
#include "core/fail.h"
#include "core/memory_bandwidth.h"
#include "core/memory_info.h"

namespace moxie::cli::commands {
namespace {

constexpr uint64_t kBandwidthBytes = uint64_t{512} << 20;  // several times any last cache of the machines aimed at
constexpr int kBandwidthPasses = 5;

struct Measurement {
  bool prompt = false;  // else generation
  int64_t tokens = 0;
  int threads = 0;
  std::vector<double> rates;                      // tokens a second, ascending
  uint64_t bytes_per_token = 0;                   // weights and KV cache that one decoded token reads; 0 for prompts
  double bandwidth = 0;                           // of this machine with these threads, bytes a second
  std::string mode;                               // "exact", or the lossy modes
  bool streaming = false;                         // experts come from the disk
  uint64_t disk_bytes = 0, hits = 0, misses = 0;  // of all repetitions

  double median() const {
    const size_t middle = rates.size() / 2;
    return rates.size() % 2 == 1 ? rates[middle] : (rates[middle - 1] + rates[middle]) / 2;
  }
  std::string name() const { return fmt::format("{}{}", prompt ? "pp" : "tg", tokens); }
  double bytes_per_second() const { return median() * static_cast<double>(bytes_per_token); }
  double disk_bytes_per_token() const {
    const int64_t computed = tokens + (prompt ? 0 : 1);  // the token before the first one counts here
    return static_cast<double>(disk_bytes) / static_cast<double>(computed) / static_cast<double>(rates.size());
  }
  double hit_rate() const {
    return hits + misses > 0 ? static_cast<double>(hits) / static_cast<double>(hits + misses) : 0;
  }
  double share() const { return bandwidth > 0 ? bytes_per_second() / bandwidth : 0; }
};

class Bench final : public Command {
 public:
  void flags(FlagSet& flags) override {
    model_.add_header_flags(flags);
    flags.add("cpu-target", model_.engine.cpu_target);
    flags.add("ubatch-size", model_.engine.ubatch_size);
    flags.add("batch-size", model_.engine.batch_size);
    flags.add("cache-type-k", model_.cache_type_k);
    flags.add("cache-type-v", model_.cache_type_v);
    flags.toggle("mmap", model_.engine.mmap);
    flags.toggle("no-mmap", model_.engine.mmap, false);
    model_.add_expert_flags(flags);
    flags.group("measurement");
    for (const char* name : {"prompt", "n-prompt"})
      flags.add(name, prompts_, "prompt lengths to measure: 128,512; 0: none");
    for (const char* name : {"predict", "n-gen"})
      flags.add(name, generations_, "numbers of generated tokens to measure; 0: none");
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
  }

  Result<int> run() override {
    MOXIE_TRY_VOID(check());
    Interruption interruption;
    std::vector<Measurement> all;
    std::string head;
    for (const int64_t threads : threads_) {
      model_.engine.threads = static_cast<int>(threads);
      model_.engine.ctx_size = context_needed();
      model_.engine.warm = false;  // drawn tokens: not what the user's next run will want
      MOXIE_TRY(const auto engine, open_engine(model_, &interruption.flag()));
      MOXIE_TRY(const auto sequence, engine->new_sequence());
      interruption.attach(sequence.get());
      const auto result = measure(*engine, *sequence, all);
      interruption.attach(nullptr);
      MOXIE_TRY_VOID(result);
      head = fmt::format("{}: {}, {} parameters, {} of weights, {} of them read for a token; {}\n\n",
                         engine->model().path, engine->model().family, human_count(engine->model().parameters),
                         human_bytes(engine->model().weight_bytes), human_bytes(engine->model().active_bytes_per_token),
                         engine->runtime().cpu_target);
    }
    MOXIE_TRY_VOID(print(json_ ? as_json(all) : head + as_markdown(all)));
    return 0;
  }

 private:
  Result<void> check() const {
    if (repetitions_ < 1 || repetitions_ > 1000) {
      return fail(ErrorCode::invalid_argument, "{} repetitions are none of 1 to 1000", repetitions_);
    }
    if (threads_.empty()) return fail(ErrorCode::invalid_argument, "-t names no number of threads");
    for (const int64_t threads : threads_) {
      if (threads < 0 || threads > 4096)
        return fail(ErrorCode::invalid_argument, "{} is no number of threads from 0 to 4096", threads);
    }
    for (const auto* lengths : {&prompts_, &generations_}) {
      for (const int64_t length : *lengths) {
        if (length < 0 || length > (int64_t{1} << 24)) {
          return fail(ErrorCode::invalid_argument, "{} is no number of tokens from 0 to {}", length, int64_t{1} << 24);
        }
      }
    }
    return {};
  }

  int64_t context_needed() const {
    int64_t longest = 1;
    for (const int64_t length : prompts_) longest = std::max(longest, length);
    for (const int64_t length : generations_) longest = std::max(longest, length + 1);
    return longest;
  }

  Result<void> measure(const Engine& engine, Sequence& sequence, std::vector<Measurement>& all) const {
    double bandwidth = 0;
    {
      ThreadPool pool(engine.runtime().threads);
      const uint64_t room = read_memory_info().room_bytes().value_or(kBandwidthBytes * 4);
      MOXIE_TRY(bandwidth, measure_read_bandwidth(pool, std::min(kBandwidthBytes, room / 4), kBandwidthPasses));
    }
    for (const bool prompt : {true, false}) {
      for (const int64_t tokens : prompt ? prompts_ : generations_) {
        if (tokens == 0) continue;
        Measurement one = {
            .prompt = prompt, .tokens = tokens, .threads = engine.runtime().threads, .bandwidth = bandwidth};
        if (!prompt) {
          // The cache grows while generating: on average half of it is read.
          one.bytes_per_token = engine.model().active_bytes_per_token +
                                engine.runtime().kv_bytes_per_token * static_cast<uint64_t>(tokens / 2 + 1);
        }
        MOXIE_TRY_VOID(
            once(engine, sequence, prompt, std::min<int64_t>(tokens, prompt ? tokens : 4)));  // pages and caches warm
        const ExpertStats before = engine.expert_stats();
        for (int64_t i = 0; i < repetitions_; ++i) {
          MOXIE_TRY(const double seconds, once(engine, sequence, prompt, tokens));
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
    return {};
  }

  // Seconds for `tokens`, all at once or one by one. Ids are spread over the vocabulary, so that experts are used as in
  // real text.
  static Result<double> once(const Engine& engine, Sequence& sequence, bool prompt, int64_t tokens) {
    std::mt19937 random(1);
    const auto vocabulary = static_cast<uint32_t>(engine.model().vocabulary);
    std::vector<int32_t> ids(static_cast<size_t>(tokens));
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % vocabulary);
    MOXIE_TRY_VOID(sequence.truncate(0));
    if (!prompt) MOXIE_TRY_VOID(sequence.append(std::span(ids).first(1)));
    const auto start = std::chrono::steady_clock::now();
    if (prompt) {
      MOXIE_TRY_VOID(sequence.append(ids));
    } else {
      for (const int32_t& id : ids) MOXIE_TRY_VOID(sequence.append(std::span(&id, 1)));
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  std::string as_markdown(const std::vector<Measurement>& all) const {
    std::vector<std::string> headings = {"test",   ">threads",      ">tokens/s", ">min - max", ">read per token",
                                         ">GiB/s", ">memory GiB/s", ">share"};
    const bool streaming = std::any_of(all.begin(), all.end(), [](const Measurement& one) { return one.streaming; });
    if (streaming) headings.insert(headings.end(), {"mode", ">from disk per token", ">hits"});
    Table table(std::move(headings));
    constexpr double kGiB = 1024.0 * 1024 * 1024;
    for (const Measurement& one : all) {
      std::vector<std::string> row = {one.name(),
                                      fmt::format("{}", one.threads),
                                      fmt::format("{:.2f}", one.median()),
                                      fmt::format("{:.2f} - {:.2f}", one.rates.front(), one.rates.back()),
                                      one.prompt ? "" : human_bytes(one.bytes_per_token),
                                      one.prompt ? "" : fmt::format("{:.2f}", one.bytes_per_second() / kGiB),
                                      fmt::format("{:.2f}", one.bandwidth / kGiB),
                                      one.prompt ? "" : fmt::format("{:.0f} %", 100 * one.share())};
      if (streaming) {
        row.insert(row.end(), {one.mode, human_bytes(static_cast<uint64_t>(one.disk_bytes_per_token())),
                               fmt::format("{:.1f} %", 100 * one.hit_rate())});
      }
      table.row(std::move(row));
    }
    std::string out = table.markdown();
    out += fmt::format("\nMedians of {}. Memory: reading {} with the same threads, the best of {} passes.\n",
                       repetitions_, human_bytes(kBandwidthBytes), kBandwidthPasses);
    if (std::any_of(all.begin(), all.end(), [](const Measurement& one) { return one.share() > 1; })) {
      out +=
          "A share above 100 % means that weights came from the processor's caches, or that other programs disturbed "
          "the run.\n";
    }
    return out;
  }

  static std::string as_json(const std::vector<Measurement>& all) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Measurement& one : all) {
      nlohmann::ordered_json object = {{"test", one.name()},
                                       {"threads", one.threads},
                                       {"tokens_per_s", one.median()},
                                       {"tokens_per_s_all", one.rates},
                                       {"memory_bytes_per_s", one.bandwidth}};
      if (!one.prompt) {
        object["bytes_read_per_token"] = one.bytes_per_token;
        object["bytes_per_s"] = one.bytes_per_second();
        object["memory_share"] = one.share();
      }
      if (one.streaming) {
        object["mode"] = one.mode;
        object["disk_bytes_per_token"] = one.disk_bytes_per_token();
        object["expert_hits"] = one.hits;
        object["expert_misses"] = one.misses;
      }
      list.push_back(std::move(object));
    }
    return list.dump(2) + "\n";
  }

  ModelOptions model_;
  std::vector<int64_t> prompts_ = {512}, generations_ = {64}, threads_ = {0};
  int64_t repetitions_ = 5;
  bool json_ = false;
};

}  // namespace

extern const CommandEntry bench = {
    .name = "bench",
    .summary = "measure the speed of prompts and generation beside what this machine's memory allows",
    .usage = "[MODEL] [-p LIST] [-n LIST] [-t LIST] [-r N] [-o md|json]",
    .detail =
        "ppN: a prompt of N tokens at once. tgN: N tokens one by one. A generated token reads the dense weights, the "
        "experts it\n"
        "uses and the KV cache; the share is that rate of bytes over the memory bandwidth, measured in the same run.\n"
        "Where experts stream, what was read from disk for a token stands beside it. The ids are drawn: hits of real "
        "text are\n"
        "others.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Bench>(); },
};

}  // namespace moxie::cli::commands
