// What doctor tells about a model, finding by finding. Plain data.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "moxie/error.h"

namespace moxie {

// An error: it does not load. A warning: it loads and something will be missing or wrong. Info: it loads here, and
// there is something to know.
enum class FindingSeverity : uint8_t { info, warning, error };
std::string_view name(FindingSeverity severity);

struct Finding {
  std::string code;  // a row of diagnoses.inc
  FindingSeverity severity = FindingSeverity::info;
  std::string title;                       // what it is, in general
  std::string message;                     // this case in a sentence, as `run` says it; may be empty
  std::string found, expected, near_miss;  // empty where unknown
  std::string why;                         // why this happens
  std::string remedy;                      // a command; empty where there is none
  std::vector<std::string> elsewhere;      // what other programs say about such a file
};

// Collects findings about one model and fills in what the table of diagnoses knows.
class Findings {
 public:
  explicit Findings(std::string path) : path_(std::move(path)) {}

  // REQUIRES: the code is a row of diagnoses.inc.
  void add(const Diagnosis& diagnosis, std::string message = {});
  // Of the error's diagnosis, or, where it has none, the general one of its code.
  void add(const Error& error);
  // A sentence without a row of its own.
  void notice(std::string sentence);

  bool any_error() const;
  bool has(std::string_view code) const;
  std::vector<Finding> take() && { return std::move(all_); }

 private:
  std::string path_;
  std::vector<Finding> all_;
};

}  // namespace moxie
