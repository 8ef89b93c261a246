#include "server/model_host.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/fail.h"
#include "core/printable.h"
#include "doctor/examine_model.h"

namespace moxie::server {
namespace {

// Somebody who went away is noticed so soon.
constexpr std::chrono::milliseconds kLookInterval{100};
// How old a list of models may be when it is shown, and when a name is not in it.
constexpr std::chrono::seconds kListAge{30}, kMissAge{2};

Error shutting_down() {
  return fail(ErrorCode::unavailable, "the server is shutting down");
}

// What a closed model leaves in the allocator's hands goes back, as the next one's budget counts it.
void return_free_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace

ModelHost::ModelHost(const ServerState& server, ModelSource source, int queue_limit)
    : server_(server), source_(std::move(source)), queue_limit_(static_cast<size_t>(std::max(0, queue_limit))) {
  models_ = source_.models;
  if (!is_fixed()) thread_ = std::thread([this] { run(); });
}

ModelHost::~ModelHost() {
  end();
  close(std::move(open_));
}

void ModelHost::end() {
  stop();
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  give_up_ = true;
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Result<ServiceLease> ModelHost::open_only() {
  OfferedModel model = source_.models.front();
  {
    const std::lock_guard lock(mutex_);
    opening_ = model.path;
  }
  if (auto report = examine_model(model.path); report.ok()) model.findings = std::move(report->findings);
  auto service = open(model);
  const std::lock_guard lock(mutex_);
  opening_.clear();
  if (!service.ok()) return std::move(service).error();
  open_ = std::move(service).value();
  ++opened_count_;
  return lease();
}

std::vector<OfferedModel> ModelHost::models() {
  look_again(kListAge);
  const std::lock_guard lock(models_mutex_);
  return models_;
}

void ModelHost::look_again(std::chrono::milliseconds age) {
  if (is_fixed()) return;
  const std::lock_guard lock(models_mutex_);  // who comes meanwhile waits for the same look
  if (Clock::now() - looked_ < age) return;
  models_ = source_.look();
  looked_ = Clock::now();
}

Result<OfferedModel> ModelHost::find(std::string_view name) {
  if (is_fixed()) return source_.models.front();
  if (name.empty()) {
    if (const ServiceLease open = current()) return open->offered;
  }
  auto found = find_in_list(name);
  if (found.ok() || found.error().code != ErrorCode::not_found) return found;
  look_again(kMissAge);  // it may have been downloaded since
  return find_in_list(name);
}

Result<OfferedModel> ModelHost::find_in_list(std::string_view name) {
  const bool strict = server_.options.strict_model;
  const std::lock_guard lock(models_mutex_);
  std::vector<const OfferedModel*> usable;
  bool is_id = false;
  for (const OfferedModel& model : models_) {
    if (model.problem.empty()) usable.push_back(&model);
    is_id |= model.id == name;
  }
  // Where there is one, agents may call it what they like.
  if (usable.size() == 1 && !is_id && (name.empty() || !strict)) return *usable.front();
  if (usable.empty() && name.empty()) return fail(ErrorCode::not_found, "no model is here that will load");
  if (name.empty()) {
    return fail(ErrorCode::invalid_argument, "'model' is missing; GET /v1/models lists the {} that may be asked for",
                usable.size());
  }
  auto found = find_offered(models_, name);
  if (!found.ok() || is_id || !strict) return found;
  return fail(ErrorCode::not_found, "'model' is '{}'; with --strict-model it must be '{}'",
              printable(name.substr(0, 200)), found->id);
}

void ModelHost::ask(OfferedModel model, std::function<bool()> wanted,
                    std::function<void(Result<ServiceLease>)> opened) {
  Result<ServiceLease> answer = shutting_down();
  {
    const std::lock_guard lock(mutex_);
    const bool ready = open_ != nullptr && open_->offered.id == model.id && waiting_.empty() && opening_.empty();
    if (!stopped_ && ready) {
      answer = lease();
    } else if (!stopped_ && waiting_.size() < queue_limit_ && !is_fixed()) {
      waiting_.push_back({std::move(model), std::move(wanted), std::move(opened)});
      changed_.notify_all();
      return;
    } else if (!stopped_) {
      answer = fail(ErrorCode::unavailable, "{} requests wait for a model already; try again later", waiting_.size());
    }
  }
  opened(std::move(answer));
}

// REQUIRES: open_.
ServiceLease ModelHost::lease() {
  ++leases_;
  return {open_.get(), [this](Service*) {
            const std::lock_guard lock(mutex_);
            --leases_;
            changed_.notify_all();
          }};
}

ServiceLease ModelHost::current() {
  const std::lock_guard lock(mutex_);
  return open_ != nullptr ? lease() : nullptr;
}

std::string ModelHost::opening() const {
  const std::lock_guard lock(mutex_);
  return opening_;
}

int ModelHost::waiting() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(waiting_.size());
}

uint64_t ModelHost::opened_count() const {
  const std::lock_guard lock(mutex_);
  return opened_count_;
}

void ModelHost::stop() {
  std::deque<Waiter> refused;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    refused.swap(waiting_);
  }
  for (const Waiter& waiter : refused) waiter.opened(shutting_down());
}

void ModelHost::forget_unwanted() {
  std::erase_if(waiting_, [](const Waiter& waiter) { return !waiter.wanted(); });
}

std::vector<ModelHost::Waiter> ModelHost::take_waiting_for(const std::string& id) {
  std::vector<Waiter> taken;
  std::deque<Waiter> left;
  for (Waiter& waiter : waiting_) {
    if (waiter.model.id == id) {
      taken.push_back(std::move(waiter));
    } else {
      left.push_back(std::move(waiter));
    }
  }
  waiting_.swap(left);
  return taken;
}

void ModelHost::run() {
  Lock lock(mutex_);
  while (!ending_) {
    forget_unwanted();
    if (waiting_.empty()) {
      changed_.wait(lock, [&] { return ending_ || !waiting_.empty(); });
      continue;
    }
    const OfferedModel next = waiting_.front().model;
    const bool here = open_ != nullptr && open_->offered.id == next.id;
    if (!here && leases_ > 0) {
      changed_.wait_for(lock, kLookInterval);
      continue;
    }
    if (!here) {
      change_to(next, lock);
      continue;
    }
    for (Waiter& waiter : take_waiting_for(next.id)) {
      ServiceLease held = lease();
      lock.unlock();
      waiter.opened(std::move(held));
      lock.lock();
    }
  }
}

// Closes what is open, without a lease, and opens the model; where that fails, tells those who wait for it.
void ModelHost::change_to(const OfferedModel& model, Lock& lock) {
  std::unique_ptr<Service> old = std::move(open_);
  opening_ = model.id;
  lock.unlock();
  close(std::move(old));
  auto service = open(model);
  lock.lock();
  opening_.clear();
  if (service.ok()) {
    open_ = std::move(service).value();
    ++opened_count_;
    return;
  }
  for (const Waiter& waiter : take_waiting_for(model.id)) {
    lock.unlock();
    waiter.opened(service.error());
    lock.lock();
  }
}

void ModelHost::say(const std::string& line) const {
  if (server_.options.say) server_.options.say(line);
}

Result<std::unique_ptr<Service>> ModelHost::open(const OfferedModel& model) {
  const auto start = Clock::now();
  MOXIE_TRY(auto engine, source_.open(model, give_up_));
  MOXIE_TRY(auto service, Service::create(server_, model, std::move(engine)));
  say_findings(*service);
  if (!is_fixed()) {
    const std::chrono::duration<double> seconds = Clock::now() - start;
    say(fmt::format("{} is open, after {:.1f} s", printable(model.id), seconds.count()));
  }
  return service;
}

// What doctor says and opening did not.
void ModelHost::say_findings(const Service& service) const {
  const std::vector<std::string> said = service.engine.notices();
  for (const Finding& finding : service.offered.findings) {
    if (finding.severity == FindingSeverity::info) continue;
    if (std::find(said.begin(), said.end(), finding.message) != said.end()) continue;
    say(fmt::format("{}{}{}{}{}", finding.title, finding.message.empty() ? "" : ": ", finding.message,
                    finding.remedy.empty() ? "" : "; ", finding.remedy));
  }
}

void ModelHost::close(std::unique_ptr<Service> service) {
  if (service == nullptr) return;
  if (!is_fixed()) say(fmt::format("{} is closed", printable(service->offered.id)));
  service.reset();
  return_free_memory();
}

}  // namespace moxie::server
