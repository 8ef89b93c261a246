// Texts that end an answer. Holds back what may be the beginning of one until it is decided. One per answer; not
// thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moxie {

class StopTexts {
 public:
  explicit StopTexts(std::vector<std::string> stops);

  // The part of all text so far that is certainly before any stop, and was not given out yet.
  std::string push(std::string_view text);
  // The rest at the end of the answer; `last` is text that came with the end.
  std::string finish(std::string_view last);
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace moxie
