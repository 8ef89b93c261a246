// Between which marks a model writes its reasoning, going by its chat template. Pure functions.
#pragma once

#include <string_view>

namespace moxie {

struct ReasoningMarks {
  std::string_view open, close;  // both empty: none
  bool any() const { return !open.empty(); }
};

// The marks of a template's text; none if it has none.
ReasoningMarks reasoning_marks_of(std::string_view chat_template);

// The rendered prompt ends within reasoning that it began itself: the answer goes on with it, without the opening mark.
bool prompt_opens_reasoning(std::string_view rendered, const ReasoningMarks& marks);

}  // namespace moxie
