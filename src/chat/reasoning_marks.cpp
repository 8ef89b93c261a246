#include "chat/reasoning_marks.h"

#include <algorithm>

namespace moxie {
namespace {

constexpr ReasoningMarks kKnown[] = {
    {"[THINK]", "[/THINK]"}, {"<seed:think>", "</seed:think>"}, {"<|START_THINKING|>", "<|END_THINKING|>"},
    {"<think>", "</think>"}, {"<thinking>", "</thinking>"},     {"<|inner_prefix|>", "<|inner_suffix|>"},
};

}  // namespace

ReasoningMarks reasoning_marks_of(std::string_view chat_template) {
  // A template may only strip reasoning from earlier answers, so that the closing mark is all it names.
  for (const ReasoningMarks& marks : kKnown) {
    if (chat_template.find(marks.close) != std::string_view::npos) return marks;
  }
  return {};
}

bool prompt_opens_reasoning(std::string_view rendered, const ReasoningMarks& marks) {
  if (!marks.any()) return false;
  const size_t last = rendered.find_last_not_of(" \t\r\n");
  return last != std::string_view::npos && rendered.substr(0, last + 1).ends_with(marks.open);
}

}  // namespace moxie
