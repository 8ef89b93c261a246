#include "server/http_exchange.h"

#include <algorithm>
#include <cstring>

namespace moxie::server {
namespace {

std::string_view find_in(const std::map<std::string, std::string, std::less<>>& map, std::string_view name) {
  const auto found = map.find(name);
  return found == map.end() ? std::string_view() : std::string_view(found->second);
}

}  // namespace

std::string_view HttpRequest::header(std::string_view lower_case_name) const {
  return find_in(headers, lower_case_name);
}

std::string_view HttpRequest::argument(std::string_view name) const {
  return find_in(arguments, name);
}

void HttpExchange::wake() {
  if (!suspended_ || !network_.resume) return;
  suspended_ = false;
  network_.resume();
}

void HttpExchange::set_common_headers(HttpHeaders headers) {
  const std::lock_guard lock(mutex_);
  common_headers_ = std::move(headers);
}

void HttpExchange::respond(HttpResponse response) {
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::pending) return;
  phase_ = Phase::responded;
  status_ = response.status;
  head_ = std::move(response);
  wake();
}

void HttpExchange::begin_stream(HttpResponse head) {
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::pending) return;
  phase_ = Phase::streaming;
  status_ = head.status;
  head_ = std::move(head);
  last_write_ = Clock::now();
  wake();
}

bool HttpExchange::write(std::string_view bytes) {
  std::function<void()> gone, idle;  // die after the lock
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::streaming || gone_ || closed_) return false;
  if (bytes.empty()) return true;
  last_write_ = Clock::now();
  if (waiting_.size() - taken_ + bytes.size() <= kWaitingBytesMax) {
    waiting_.append(bytes);
    wake();
    return true;
  }
  // It reads too slowly, or not at all: better to stop than to keep an answer that nobody takes.
  phase_ = Phase::broken;
  gone_ = true;
  gone = std::exchange(on_gone_, {});
  idle = std::exchange(on_idle_, {});
  wake();
  return false;
}

void HttpExchange::end_stream() {
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::streaming) return;
  phase_ = Phase::ended;
  wake();
}

void HttpExchange::abort_stream() {
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::streaming) return;
  phase_ = Phase::broken;
  wake();
}

void HttpExchange::on_gone(std::function<void()> function) {
  {
    const std::lock_guard lock(mutex_);
    if (!gone_) {
      if (!closed_) on_gone_ = std::move(function);
      return;
    }
  }
  function();
}

void HttpExchange::on_idle(std::chrono::milliseconds interval, std::function<void()> function) {
  const std::lock_guard lock(mutex_);
  if (gone_ || closed_ || interval.count() <= 0) return;
  idle_interval_ = interval;
  on_idle_ = std::move(function);
  last_write_ = Clock::now();
}

bool HttpExchange::gone() const {
  const std::lock_guard lock(mutex_);
  return gone_;
}

RequestNotes HttpExchange::notes() const {
  const std::lock_guard lock(mutex_);
  return notes_;
}

void HttpExchange::set_notes(RequestNotes notes) {
  const std::lock_guard lock(mutex_);
  notes_ = std::move(notes);
}

void HttpExchange::attach(Network network) {
  const std::lock_guard lock(mutex_);
  network_ = std::move(network);
}

HttpExchange::Wait HttpExchange::take_response(Ready& ready) {
  const std::lock_guard lock(mutex_);
  if (gone_ || closed_ || head_taken_) return Wait::gone;
  if (phase_ == Phase::pending) {
    suspended_ = true;
    network_.suspend();
    return Wait::suspended;
  }
  head_taken_ = true;
  ready.streamed = phase_ != Phase::responded;
  ready.response = std::move(head_);
  for (auto& header : common_headers_) ready.response.headers.push_back(std::move(header));
  if (!ready.streamed) bytes_sent_ = ready.response.body.size();
  return Wait::ready;
}

int64_t HttpExchange::take_bytes(char* to, size_t most) {
  const std::lock_guard lock(mutex_);
  if (gone_ || closed_ || phase_ == Phase::broken) return kBroken;
  if (taken_ < waiting_.size()) {
    const size_t count = std::min(most, waiting_.size() - taken_);
    std::memcpy(to, waiting_.data() + taken_, count);
    taken_ += count;
    bytes_sent_ += count;
    if (taken_ == waiting_.size()) {
      waiting_.clear();
      taken_ = 0;
    } else if (taken_ > waiting_.size() / 2) {
      waiting_.erase(0, taken_);
      taken_ = 0;
    }
    return static_cast<int64_t>(count);
  }
  if (phase_ == Phase::ended) return kEnd;
  suspended_ = true;
  network_.suspend();
  return 0;
}

void HttpExchange::close(bool complete) {
  std::function<void()> gone, idle;  // they hold what they use, which must not die while the lock is held
  bool tell = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    const bool whole = complete && (phase_ == Phase::responded || phase_ == Phase::ended);
    tell = !whole && !gone_;
    if (tell) gone_ = true;
    gone = std::exchange(on_gone_, {});
    idle = std::exchange(on_idle_, {});
    if (complete) {
      closed_ = true;
      suspended_ = false;
      network_ = {};
    } else {
      wake();
    }
  }
  if (tell && gone) gone();
}

void HttpExchange::tick(Clock::time_point now) {
  std::function<void()> call;
  {
    const std::lock_guard lock(mutex_);
    if (!on_idle_ || now - last_write_ < idle_interval_) return;
    if (phase_ != Phase::pending && phase_ != Phase::streaming) return;
    last_write_ = now;
    call = on_idle_;
  }
  call();
}

int HttpExchange::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

uint64_t HttpExchange::bytes_sent() const {
  const std::lock_guard lock(mutex_);
  return bytes_sent_;
}

}  // namespace moxie::server
