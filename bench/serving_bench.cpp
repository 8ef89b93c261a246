// What the scheduler makes of a model: time to the first token of a prompt that is new, and of one that was there
// before or differs at its end only; tokens per second of 1, 4 and 16 sequences at once; a long prompt beside a
// sequence that answers.
//
//   serving_bench MODEL [--prompt N] [--rounds N] [--threads N] [--memory M] [--tokens N] [--parts first,batch,beside]
//
// Prints one JSON object a line. Prompts are random ids: what is measured does not depend on them, apart from routing.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/scheduler.h"

namespace {

using namespace moxie;
using Clock = std::chrono::steady_clock;

struct Settings {
  std::string model, memory = "auto", parts = "first,batch,beside";
  int64_t prompt = 4000, rounds = 5, threads = 0, tokens = 32;
};

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "serving_bench: %s\n", why.c_str());
  std::exit(1);
}

Settings settings_of(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (!name.starts_with("--")) {
      settings.model = name;
      continue;
    }
    if (i + 1 == argc) give_up(name + " wants a value");
    const char* value = argv[++i];
    if (name == "--prompt")
      settings.prompt = std::atoll(value);
    else if (name == "--rounds")
      settings.rounds = std::atoll(value);
    else if (name == "--threads")
      settings.threads = std::atoll(value);
    else if (name == "--tokens")
      settings.tokens = std::atoll(value);
    else if (name == "--memory")
      settings.memory = value;
    else if (name == "--parts")
      settings.parts = value;
    else
      give_up(name + " is not known");
  }
  if (settings.model.empty() || settings.prompt < 64 || settings.rounds < 1 || settings.tokens < 2)
    give_up("give a MODEL, --prompt of 64 or more, --rounds of 1 or more, --tokens of 2 or more");
  return settings;
}

class Timed final : public RequestListener {
 public:
  void on_token(const TokenStep&) override {
    const std::lock_guard lock(mutex_);
    times_.push_back(Clock::now());
  }
  void on_end(const Result<GenerateResult>& result, const RequestTimings& timings) override {
    const std::lock_guard lock(mutex_);
    if (!result.ok()) give_up(result.error().message);
    timings_ = timings;
    ended_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_; });
  }
  double first() const { return std::chrono::duration<double>(times_.at(0) - start_).count(); }
  // The longest that a token was waited for.
  double longest_pause() const {
    double longest = 0;
    for (size_t i = 1; i < times_.size(); ++i)
      longest = std::max(longest, std::chrono::duration<double>(times_[i] - times_[i - 1]).count());
    return longest;
  }
  size_t tokens() {
    const std::lock_guard lock(mutex_);
    return times_.size();
  }
  const RequestTimings& timings() const { return timings_; }

 private:
  const Clock::time_point start_ = Clock::now();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Clock::time_point> times_;
  RequestTimings timings_;
  bool ended_ = false;
};

std::mt19937 dice(1);

std::vector<int32_t> some_ids(int64_t count, int64_t vocabulary) {
  std::vector<int32_t> ids;
  while (static_cast<int64_t>(ids.size()) < count)
    ids.push_back(static_cast<int32_t>(dice() % static_cast<unsigned>(vocabulary)));
  return ids;
}

struct Sent {
  std::shared_ptr<Timed> timed;
  std::shared_ptr<RequestHandle> handle;
};

Sent send(Scheduler& scheduler, std::vector<int32_t> prompt, int64_t tokens) {
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.options.max_tokens = tokens;
  request.options.sampling.temp = 0;
  request.options.sampling.ignore_eos = true;
  Sent sent = {.timed = std::make_shared<Timed>()};
  auto handle = scheduler.submit(std::move(request), sent.timed);
  if (!handle.ok()) give_up(handle.error().message);
  sent.handle = *handle;
  return sent;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void time_first_token(Scheduler& scheduler, const Settings& settings, int64_t vocabulary) {
  std::vector<double> cold, again, other_end;
  int64_t computed = 0;
  for (int64_t round = 0; round < settings.rounds; ++round) {
    const auto prompt = some_ids(settings.prompt, vocabulary);
    auto tail = prompt;
    for (int64_t i = 0; i < 16; ++i) tail[tail.size() - 1 - static_cast<size_t>(i)] ^= 1;
    for (auto& [ids, into] : {std::pair{&prompt, &cold}, {&prompt, &again}, {&tail, &other_end}}) {
      const Sent sent = send(scheduler, *ids, 2);
      sent.timed->wait();
      into->push_back(sent.timed->first());
      if (into == &again) computed = sent.timed->timings().computed_tokens;
    }
  }
  std::printf(
      "{\"part\": \"first\", \"prompt_tokens\": %lld, \"cold_s\": %.6f, \"repeated_s\": %.6f, \"ratio\": %.1f, "
      "\"computed_again\": %lld, \"other_last_16_s\": %.6f}\n",
      static_cast<long long>(settings.prompt), median(cold), median(again), median(cold) / median(again),
      static_cast<long long>(computed), median(other_end));
}

void time_batches(Scheduler& scheduler, const Settings& settings, int64_t vocabulary) {
  for (const int together : {1, 4, 16}) {
    std::vector<double> speeds;
    for (int64_t round = 0; round < settings.rounds; ++round) {
      std::vector<Sent> all;
      for (int i = 0; i < together; ++i) all.push_back(send(scheduler, some_ids(16, vocabulary), settings.tokens));
      const auto start = Clock::now();
      for (const Sent& sent : all) sent.timed->wait();
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      speeds.push_back(static_cast<double>(together * settings.tokens) / seconds);
    }
    std::printf("{\"part\": \"batch\", \"sequences\": %d, \"tokens_per_s\": %.2f}\n", together, median(speeds));
  }
}

void time_beside(Scheduler& scheduler, const Settings& settings, int64_t vocabulary) {
  const Sent answer = send(scheduler, some_ids(16, vocabulary), -1);
  while (answer.timed->tokens() < 8) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const size_t before = answer.timed->tokens();
  const Sent prompt = send(scheduler, some_ids(settings.prompt / 2, vocabulary), 1);
  prompt.timed->wait();
  const size_t after = answer.timed->tokens();
  const auto start = Clock::now();
  answer.handle->cancel();
  answer.timed->wait();
  const double left = std::chrono::duration<double>(Clock::now() - start).count();
  std::printf(
      "{\"part\": \"beside\", \"prompt_tokens\": %lld, \"first_token_s\": %.3f, \"tokens_meanwhile\": %zu, "
      "\"longest_pause_s\": %.3f, \"cancelled_s\": %.4f}\n",
      static_cast<long long>(settings.prompt / 2), prompt.timed->first(), after - before, answer.timed->longest_pause(),
      left);
}

}  // namespace

int main(int argc, char** argv) {
  const Settings settings = settings_of(argc, argv);
  EngineOptions options;
  options.model = settings.model;
  options.memory = settings.memory;
  options.threads = static_cast<int>(settings.threads);
  options.ctx_size = settings.prompt + 512;
  options.parallel = 16;
  options.on_log = [](Severity severity, std::string_view text) {
    if (severity != Severity::debug && text.find("reused") == std::string_view::npos)
      std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
  };
  auto engine = Engine::open(options);
  if (!engine.ok()) give_up(engine.error().message);
  auto scheduler = Scheduler::create(**engine, {.parallel = 16});
  if (!scheduler.ok()) give_up(scheduler.error().message);
  const int64_t vocabulary = (*engine)->model().vocabulary;
  if (settings.parts.find("first") != std::string::npos) time_first_token(**scheduler, settings, vocabulary);
  if (settings.parts.find("batch") != std::string::npos) time_batches(**scheduler, settings, vocabulary);
  if (settings.parts.find("beside") != std::string::npos) time_beside(**scheduler, settings, vocabulary);
  return 0;
}
