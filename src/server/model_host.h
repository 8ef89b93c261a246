// Which of the offered models is open, and who waits for which. One is open at a time: when another is wanted, the
// requests under way finish, it is closed, and the other is opened in its memory. A thread of its own does that.
//
// Who waits is served in order, with two rules: all that wait for a model begin together once it is open, so that
// requests for two models in turns do not open one for each; and while somebody waits for another model, who comes anew
// waits as well, so that nobody is overtaken for ever.
//
// Thread-safe; only open_only() blocks.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "server/offered_models.h"
#include "server/service.h"

namespace moxie::server {

class ModelHost {
 public:
  ModelHost(const ServerState& server, ModelSource source, int queue_limit);
  ~ModelHost();  // closes; nobody may hold a lease that does not end with the model's scheduler
  ModelHost(const ModelHost&) = delete;
  ModelHost& operator=(const ModelHost&) = delete;

  // One model, opened at the start: open_only() opens it, and until then there is none.
  bool is_fixed() const { return source_.look == nullptr; }
  // Errors: those of opening. REQUIRES: is_fixed(), called once.
  Result<ServiceLease> open_only();

  // All that are there, also those that will not load. Looks again where the last look is older than a while.
  std::vector<OfferedModel> models();
  // What a request for `name` gets. With --strict-model by its id alone. Errors: those of find_offered;
  // invalid_argument, no name and several models. May look again.
  Result<OfferedModel> find(std::string_view name);

  // Calls `opened` with the model, or with why it cannot be opened: at once, or later from the host's thread. `wanted`
  // saying no, the request is forgotten. Errors of `opened`: those of opening; unavailable, too many wait or the server
  // is shutting down.
  void ask(OfferedModel model, std::function<bool()> wanted, std::function<void(Result<ServiceLease>)> opened);

  ServiceLease current();       // null: none is open
  std::string opening() const;  // its id; empty: none
  int waiting() const;
  uint64_t opened_count() const;
  // Refuses who waits and who comes.
  void stop();
  // Also gives up an opening and ends the thread: `opened` is not called from it any more.
  void end();

 private:
  struct Waiter {
    OfferedModel model;
    std::function<bool()> wanted;
    std::function<void(Result<ServiceLease>)> opened;
  };
  using Lock = std::unique_lock<std::mutex>;

  void run();
  void look_again(std::chrono::milliseconds age);
  Result<OfferedModel> find_in_list(std::string_view name);
  Result<std::unique_ptr<Service>> open(const OfferedModel& model);
  void close(std::unique_ptr<Service> service);
  void say(const std::string& line) const;
  void say_findings(const Service& service) const;
  // REQUIRE: mutex_ is held.
  ServiceLease lease();
  void forget_unwanted();
  std::vector<Waiter> take_waiting_for(const std::string& id);
  void change_to(const OfferedModel& model, Lock& lock);

  const ServerState& server_;
  const ModelSource source_;
  const size_t queue_limit_;
  std::atomic<bool> give_up_{false};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<Service> open_;  // closed when nobody has a lease
  int leases_ = 0;
  std::string opening_;
  std::deque<Waiter> waiting_;
  uint64_t opened_count_ = 0;
  bool stopped_ = false, ending_ = false;

  std::mutex models_mutex_;
  std::vector<OfferedModel> models_;
  Clock::time_point looked_ = Clock::now();

  std::thread thread_;  // last: it uses the others
};

}  // namespace moxie::server
