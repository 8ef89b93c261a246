// The HTTP server over the models it is given: everything that `moxie serve` does apart from flags and signals.
// Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "chat/chat_template.h"
#include "engine/scheduler.h"
#include "moxie/engine.h"
#include "server/access.h"
#include "server/http_server.h"
#include "server/offered_models.h"

namespace moxie::server {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;
  std::string tls_key, tls_certificate;  // PEM texts
  HttpLimits limits;
  AccessOptions access;
  int threads_http = 0;  // that do JSON, templates and tokens; 0: a few

  std::string alias;          // the model's id; empty: its name
  bool strict_model = false;  // a request that names another model is refused
  SchedulerOptions scheduler;
  GenerateOptions generate;  // what requests leave open
  TemplateChoice chat_template;
  Json template_variables;     // null or an object
  std::string slot_save_path;  // folder for saved slots; empty: they are not saved
  bool slots = true, metrics = true;
  int sse_ping_seconds = 15;  // comments on a stream that is silent; 0: none

  bool log_json = false;
  bool log_connections = false;               // also what goes wrong below requests
  std::function<void(std::string_view)> log;  // one line, without its end
  std::function<void(std::string_view)> say;  // the same, about the server itself
};

class Server {
 public:
  // Begins to listen. A source of one model answers "Loading model" until open() has opened it; of several, each is
  // opened when a request asks for it. Errors: those of listening and of TLS.
  static Result<std::unique_ptr<Server>> start(ServerOptions options, ModelSource source);
  ~Server();

  // What the program says of the one model once it is open.
  struct OpenModel {
    Engine* engine = nullptr;  // lives as long as the server
    std::string id;
    std::string chat_form;  // how conversations are written, one line
  };
  // Opens the one model of the source. Errors: those of opening, of the scheduler, of the chat template.
  Result<OpenModel> open();

  const std::string& url() const;  // "http://127.0.0.1:8080"

  // Takes no more requests and waits for those under way, at most so long or until `hurry`; then cancels the rest.
  // Returns how many were cancelled.
  int drain(double seconds, const std::atomic<bool>& hurry);

  struct Impl;

 private:
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace moxie::server
