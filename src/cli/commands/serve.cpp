#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "cli/command.h"
#include "cli/console.h"
#include "cli/expert_watch.h"
#include "cli/generate_options.h"
#include "cli/model_options.h"
#include "cli/serve_models.h"
#include "core/fail.h"
#include "core/json.h"
#include "core/printable.h"
#include "engine/model_facts.h"
#include "sample/chain.h"
#include "server/server.h"

namespace moxie::cli::commands {
namespace {

// SIGINT and SIGTERM as a count. Threads that begin while it lives do not get them.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    thread_ = std::thread([this] {
      for (int signal = 0; sigwait(&signals_, &signal) == 0;) {
        if (ending_) return;
        if (asked_.exchange(true)) hurry_ = true;
        asked_.notify_all();
      }
    });
  }
  ~StopSignals() {
    ending_ = true;
    pthread_kill(thread_.native_handle(), SIGTERM);
    thread_.join();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  const std::atomic<bool>& asked() const { return asked_; }
  const std::atomic<bool>& hurry() const { return hurry_; }  // asked twice
  void wait() const { asked_.wait(false); }

 private:
  sigset_t signals_{}, before_{};
  std::atomic<bool> asked_{false}, hurry_{false}, ending_{false};
  std::thread thread_;
};

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = text.find(',');
    std::string_view part = text.substr(0, end);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    if (!part.empty()) parts.emplace_back(part);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return parts;
}

class Serve final : public Command {
 public:
  void flags(FlagSet& flags) override {
    model_.add_flags(flags);
    add_network_flags(flags);
    add_serving_flags(flags);
    generate_.add_flags(flags);
    add_sampling_flags(flags, generate_.options.sampling);
  }

  Result<int> run() override {
    MOXIE_TRY_VOID(settle_options());
    StopSignals signals;
    MOXIE_TRY(auto source, served_models(model_, models_dir_, signals.asked()));
    const bool several = source.look != nullptr;
    if (several && !options_.alias.empty()) {
      return fail(ErrorCode::invalid_argument, "--alias {} names one model, and several are offered; give MODEL",
                  options_.alias);
    }
    if (several) announce_models(source.models);
    options_.generate = generate_.options;
    MOXIE_TRY(const auto server, server::Server::start(options_, std::move(source)));
    ExpertWatch watch;
    if (!several) {
      note(fmt::format("{} says that the model is loading, until it is open", server->url()));
      MOXIE_TRY(const auto model, server->open());
      if (signals.asked()) return exit_code(ErrorCode::cancelled);
      if (model_.watch) watch.start(*model.engine);
      announce_model(model);
    }
    announce_address(*server);
    signals.wait();
    note(fmt::format("stopping: requests under way may take {} s more; a second signal ends them at once",
                     drain_seconds_));
    const int cancelled = server->drain(drain_seconds_, signals.hurry());
    if (cancelled > 0) note(fmt::format("{} requests were cancelled", cancelled));
    watch.stop();
    return 0;
  }

 private:
  void add_network_flags(FlagSet& flags) {
    flags.group("network");
    flags.add("host", options_.host);
    flags.add("port", options_.port);
    flags.add("api-key", keys_);
    flags.add("api-key-file", key_file_);
    flags.add("ssl-key-file", tls_key_file_);
    flags.add("ssl-cert-file", tls_certificate_file_);
    flags.add("allowed-hosts", allowed_hosts_);
    flags.add("cors-origins", cors_origins_);
    flags.add("timeout", timeout_);
    flags.add("threads-http", options_.threads_http);
    flags.add("sse-ping-interval", options_.sse_ping_seconds);
    flags.add("log-format", log_format_);
    flags.add("drain-seconds", drain_seconds_);
  }

  void add_serving_flags(FlagSet& flags) {
    flags.group("requests");
    flags.add("parallel", options_.scheduler.parallel);
    flags.add("queue-limit", options_.scheduler.queue_limit);
    flags.add("cache-ram", cache_ram_);
    flags.add("cache-disk", options_.scheduler.cache_disk);
    flags.add("draft-ngram", options_.scheduler.draft_ngram);
    flags.add("models-dir", models_dir_);
    flags.toggle("strict-model", options_.strict_model);
    flags.add("slot-save-path", options_.slot_save_path);
    flags.toggle("slots", options_.slots);
    flags.toggle("no-slots", options_.slots, false);
    flags.toggle("metrics", options_.metrics);
    flags.toggle("no-metrics", options_.metrics, false);
    flags.add("chat-template", options_.chat_template.given);
    flags.add("chat-template-file", options_.chat_template.file);
    flags.add("chat-template-kwargs", template_variables_);
  }

  Result<void> settle_options() {
    MOXIE_TRY_VOID(check_sampling_options(generate_.options.sampling));
    for (const auto* texts : {&generate_.stops, &generate_.reverse_prompts}) {
      for (const std::string& text : *texts) {
        if (!text.empty()) generate_.options.stop.push_back(resolve_escapes(text));
      }
    }
    if (!is_family(model_.alias)) options_.alias = std::exchange(model_.alias, {});
    MOXIE_TRY_VOID(settle_access());
    MOXIE_TRY_VOID(settle_template());
    if (timeout_ < 1) return fail(ErrorCode::invalid_argument, "--timeout {} is below 1 s", timeout_);
    options_.limits.stalled = std::chrono::seconds(timeout_);
    if (options_.scheduler.parallel < 1) {
      return fail(ErrorCode::invalid_argument, "--parallel {} computes nothing; give 1 or more",
                  options_.scheduler.parallel);
    }
    model_.engine.parallel = options_.scheduler.parallel;
    if (cache_ram_ < -1 || cache_ram_ > (int64_t{1} << 40)) {
      return fail(ErrorCode::invalid_argument, "--cache-ram {} is no number of MiB; -1: what is free", cache_ram_);
    }
    if (cache_ram_ == 0) options_.scheduler.prefix_cache_bytes = 0;
    if (cache_ram_ > 0) model_.engine.prefix_cache_bytes = cache_ram_ << 20;
    if (log_format_ != "text" && log_format_ != "json" && log_format_ != "none") {
      return fail(ErrorCode::invalid_argument, "--log-format {} is not known; there are text, json and none",
                  log_format_);
    }
    options_.log_json = log_format_ == "json";
    options_.log_connections = model_.verbose && !options_.log_json;
    options_.say = [](std::string_view line) { note(line); };
    if (log_format_ != "none") options_.log = [](std::string_view line) { diagnose(fmt::format("{}\n", line)); };
    return {};
  }

  Result<void> settle_access() {
    for (const std::string& list : keys_) {
      for (std::string& key : split_list(list)) options_.access.keys.push_back(std::move(key));
    }
    if (!keys_.empty() && options_.access.keys.empty()) {
      return fail(ErrorCode::invalid_argument, "--api-key is empty; leave it out to serve without keys");
    }
    if (!key_file_.empty()) {
      MOXIE_TRY(const std::string text, read_text(key_file_));
      MOXIE_TRY(const auto keys, server::keys_of_file(text, key_file_));
      options_.access.keys.insert(options_.access.keys.end(), keys.begin(), keys.end());
    }
    if (tls_key_file_.empty() != tls_certificate_file_.empty()) {
      return fail(ErrorCode::invalid_argument, "--ssl-key-file and --ssl-cert-file belong together; give both or none");
    }
    if (!tls_key_file_.empty()) {
      MOXIE_TRY(options_.tls_key, read_text(tls_key_file_));
      MOXIE_TRY(options_.tls_certificate, read_text(tls_certificate_file_));
    }
    options_.access.allowed_hosts = split_list(allowed_hosts_);
    options_.access.cors_origins = split_list(cors_origins_);
    return {};
  }

  Result<void> settle_template() {
    TemplateChoice& choice = options_.chat_template;
    if (!choice.file.empty()) {
      if (!choice.given.empty()) {
        return fail(ErrorCode::invalid_argument,
                    "--chat-template and --chat-template-file name two templates; give one");
      }
      MOXIE_TRY(choice.file_text, read_text(choice.file));
    }
    if (!template_variables_.empty()) {
      MOXIE_TRY(options_.template_variables, parse_json(template_variables_, "--chat-template-kwargs"));
      if (options_.template_variables.object() == nullptr) {
        return fail(ErrorCode::invalid_argument,
                    "--chat-template-kwargs wants a JSON object, such as {{\"thinking\": false}}");
      }
    }
    return {};
  }

  void announce_model(const server::Server::OpenModel& model) const {
    note(fmt::format("{}: {} requests at once, {} tokens of context each; conversations by {}", model.id,
                     options_.scheduler.parallel, model.engine->runtime().context_tokens, model.chat_form));
  }

  static void announce_models(const std::vector<server::OfferedModel>& models) {
    constexpr size_t kShown = 8;
    std::vector<std::string> ids;
    for (const server::OfferedModel& model : models) {
      if (model.problem.empty()) ids.push_back(printable(model.id));
    }
    const size_t shown = std::min(ids.size(), kShown);
    note(fmt::format("{} models, each opened when a request names it: {}{}", ids.size(),
                     fmt::join(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                     shown < ids.size() ? ", ..." : ""));
    if (ids.size() < models.size()) {
      note(fmt::format("{} more will not load; `moxie list` says why", models.size() - ids.size()));
    }
  }

  void announce_address(const server::Server& server) const {
    const bool local = options_.host == "localhost" || options_.host.starts_with("127.") || options_.host == "::1";
    if (!local && options_.access.keys.empty()) {
      note(fmt::format("anyone who reaches {} may use this server; --api-key asks for a key", options_.host));
    }
    note(fmt::format("listening on {}", server.url()));
  }

  ModelOptions model_;
  GenerateFlags generate_;
  server::ServerOptions options_;
  std::vector<std::string> keys_;
  std::string key_file_, tls_key_file_, tls_certificate_file_, allowed_hosts_, cors_origins_, template_variables_;
  std::string models_dir_, log_format_ = "text";
  int64_t cache_ram_ = -1;
  int timeout_ = 600, drain_seconds_ = 30;
};

}  // namespace

extern const CommandEntry serve = {
    .name = "serve",
    .summary = "answer HTTP requests: OpenAI's, Anthropic's and llama.cpp's",
    .usage = "[MODEL | --models-dir FOLDER] [--host 127.0.0.1] [--port 8080] [--parallel N]",
    .detail =
        "Clients find it at /v1 of HOST:PORT. Without MODEL every model answers that `moxie list` says will load, with\n"
        "--models-dir those of a folder: one is open at a time, and the one that a request names is opened for it. Where\n"
        "there is none, the demo model answers. docs/server.md has the routes. Ctrl-C lets requests under way finish, a\n"
        "second one ends them.",
    .create = []() -> std::unique_ptr<Command> { return std::make_unique<Serve>(); },
};

}  // namespace moxie::cli::commands
