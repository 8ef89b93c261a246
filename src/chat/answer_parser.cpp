#include "chat/answer_parser.h"

#include <fmt/format.h>

#include <algorithm>

#include "chat/tool_reading.h"

namespace moxie {
namespace {

constexpr size_t kReasoningMark = std::string::npos - 1;

// How many bytes at the end of `text` may be the beginning of `mark`.
size_t partial_at_end(std::string_view text, std::string_view mark) {
  for (size_t length = std::min(text.size(), mark.size() - 1); length > 0; --length) {
    if (text.ends_with(mark.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

AnswerFormat AnswerFormat::of_template(std::string_view chat_template) {
  AnswerFormat format;
  format.calls = &tool_format_of(chat_template);
  if (!format.calls->channels) format.reasoning = reasoning_marks_of(chat_template);
  return format;
}

bool AnswerFormat::shows_control() const {
  const auto is_control = [](const ToolMark& mark) { return mark.control; };
  return reasoning.any() || (calls && std::any_of(calls->marks.begin(), calls->marks.end(), is_control));
}

AnswerParser::AnswerParser(AnswerParserOptions options) : options_(std::move(options)) {
  const ToolFormat* calls = options_.format.calls;
  if (calls && (calls->channels || !options_.tools.empty())) marks_.assign(calls->marks.begin(), calls->marks.end());
  if (options_.starts_in_reasoning) {
    mode_ = Mode::reasoning;
    skip_blanks_ = true;
  }
}

void AnswerParser::feed(std::string_view text, std::vector<AnswerEvent>& events) {
  pending_ += text;
  while (step({}, events)) {
  }
}

void AnswerParser::finish(bool cut, std::vector<AnswerEvent>& events) {
  while (step({.ended = true, .cut = cut}, events)) {
  }
  // What was held back before an end is text, but for blanks behind a call.
  if (mode_ != Mode::reasoning && calls_ == 0 && !held_.empty()) events.push_back({.text = held_});
  held_.clear();
}

bool AnswerParser::step(BlockReader::End end, std::vector<AnswerEvent>& events) {
  switch (mode_) {
    case Mode::text:
      return step_text(end.ended, events);
    case Mode::reasoning:
      return step_reasoning(end.ended, events);
    case Mode::block:
      return step_block(end, events);
  }
  return false;
}

// The first mark in what is pending, or the beginning of one at its end. No mark begins with another.
AnswerParser::Found AnswerParser::find_mark() const {
  Found found;
  const auto take = [&](size_t at, size_t mark, bool whole) {
    if (at < found.at) found = {.at = at, .mark = mark, .whole = whole};
  };
  const auto look_for = [&](std::string_view text, size_t mark) {
    const size_t at = pending_.find(text);
    if (at != std::string::npos) return take(at, mark, true);
    const size_t partial = partial_at_end(pending_, text);
    if (partial > 0) take(pending_.size() - partial, mark, false);
  };
  for (size_t i = 0; i < marks_.size(); ++i) {
    const auto& [text, where, control] = marks_[i];
    if (where == ToolMark::Where::anywhere) {
      look_for(text, i);
      continue;
    }
    if (any_text_ || (where == ToolMark::Where::after_call && calls_ == 0)) continue;
    const size_t at = text.starts_with(' ') ? 0 : skip_blanks(pending_, 0);
    const Stands stands = stands_at(pending_, at, text);
    if (at < pending_.size() && stands != Stands::no) take(at, i, stands == Stands::yes);
  }
  if (options_.format.reasoning.any()) look_for(options_.format.reasoning.open, kReasoningMark);
  return found;
}

bool AnswerParser::step_text(bool ended, std::vector<AnswerEvent>& events) {
  if (skip_blanks_) {
    pending_.erase(0, skip_blanks(pending_, 0));
    if (!pending_.empty()) skip_blanks_ = false;
  }
  if (pending_.empty()) return false;
  const Found found = find_mark();
  if (found.at == std::string::npos) {
    emit_text(pending_, events);
    pending_.clear();
    return false;
  }
  if (!found.whole) {
    emit_text(std::string_view(pending_).substr(0, ended ? pending_.size() : found.at), events);
    pending_.erase(0, ended ? pending_.size() : found.at);
    return false;
  }
  emit_text(std::string_view(pending_).substr(0, found.at), events);
  pending_.erase(0, found.at);
  if (found.mark == kReasoningMark) {
    pending_.erase(0, options_.format.reasoning.open.size());
    held_.clear();
    mode_ = Mode::reasoning;
    skip_blanks_ = true;
    return true;
  }
  reader_mark_ = found.mark;
  reader_ = options_.format.calls->read(options_.tools, found.mark);
  mode_ = Mode::block;
  return true;
}

void AnswerParser::end_reasoning(size_t used) {
  pending_.erase(0, used);
  held_.clear();
  mode_ = Mode::text;
  skip_blanks_ = !in_channel_;
  in_channel_ = false;
}

bool AnswerParser::step_reasoning(bool ended, std::vector<AnswerEvent>& events) {
  if (skip_blanks_) {
    pending_.erase(0, skip_blanks(pending_, 0));
    if (pending_.empty()) return false;
    // A model may write the opening mark although the prompt did.
    const std::string_view open = options_.format.reasoning.open;
    const Stands again = in_channel_ ? Stands::no : stands_at(pending_, 0, open);
    if (again == Stands::partly && !ended) return false;
    if (again == Stands::yes) {
      pending_.erase(0, open.size());
      return true;
    }
    skip_blanks_ = false;
  }
  // What may end it, and how many bytes of that belong to the end.
  size_t first = std::string::npos, used = 0, wait = pending_.size();
  const auto consider = [&](std::string_view mark, size_t takes) {
    const size_t at = pending_.find(mark);
    if (at < first) {
      first = at;
      used = takes;
    }
    wait = std::min(wait, pending_.size() - partial_at_end(pending_, mark));
  };
  if (in_channel_) {
    for (const std::string_view end : options_.format.calls->reasoning_ends) consider(end, 0);
  } else {
    consider(options_.format.reasoning.close, options_.format.reasoning.close.size());
    for (const ToolMark& mark : marks_) {
      if (mark.control) consider(mark.text, 0);
    }
  }
  if (first != std::string::npos) {
    emit_reasoning(std::string_view(pending_).substr(0, first), events);
    end_reasoning(first + used);
    return true;
  }
  const size_t sure = ended ? pending_.size() : wait;
  emit_reasoning(std::string_view(pending_).substr(0, sure), events);
  pending_.erase(0, sure);
  return false;
}

bool AnswerParser::step_block(BlockReader::End end, std::vector<AnswerEvent>& events) {
  using Verdict = BlockScan::Verdict;
  const BlockScan scan = reader_->scan(pending_, end);
  if (scan.verdict == Verdict::more && !end.ended) return false;
  mode_ = Mode::text;
  reader_.reset();
  const auto used = [&] { return std::string_view(pending_).substr(0, scan.used); };
  switch (scan.verdict) {
    case Verdict::calls:
      if (options_.tools.empty()) {
        emit_text(used(), events);
        break;
      }
      for (const CalledTool& call : scan.calls) emit_call(call, events);
      break;
    case Verdict::reasoning:
      held_.clear();
      mode_ = Mode::reasoning;
      in_channel_ = true;
      break;
    case Verdict::answer:
      emit_text(scan.text, events);
      break;
    case Verdict::separator:
      held_ += used();
      break;
    case Verdict::dropped:
      break;
    case Verdict::more:
    case Verdict::text: {
      const size_t length = marks_[reader_mark_].text.size();
      emit_text(std::string_view(pending_).substr(0, length), events);
      any_text_ = true;
      pending_.erase(0, length);
      return true;
    }
  }
  pending_.erase(0, scan.used);
  return true;
}

void AnswerParser::emit_text(std::string_view text, std::vector<AnswerEvent>& events) {
  const size_t last = text.find_last_not_of(" \t\r\n");
  if (last == std::string_view::npos) {
    held_ += text;
    return;
  }
  any_text_ = true;
  std::string out = std::move(held_);
  out += text.substr(0, last + 1);
  held_ = text.substr(last + 1);
  events.push_back({.kind = AnswerEvent::Kind::text, .text = std::move(out)});
}

void AnswerParser::emit_reasoning(std::string_view text, std::vector<AnswerEvent>& events) {
  const size_t last = text.find_last_not_of(" \t\r\n");
  if (last == std::string_view::npos) {
    held_ += text;
    return;
  }
  std::string out = std::move(held_);
  out += text.substr(0, last + 1);
  held_ = text.substr(last + 1);
  events.push_back({.kind = AnswerEvent::Kind::reasoning, .text = std::move(out)});
}

std::string AnswerParser::id_of(const CalledTool& call) const {
  switch (options_.format.calls->ids) {
    case CallIds::mistral:
      return is_mistral_call_id(call.id) ? call.id : made_call_id(options_.id_seed, calls_, 9);
    case CallIds::functions:
      if (call.id.starts_with("functions.") && call.id.find(':') != std::string::npos) return call.id;
      return fmt::format("functions.{}:{}", call.name, options_.earlier_calls + calls_);
    case CallIds::plain:
      break;
  }
  return "call_" + made_call_id(options_.id_seed, calls_, 24);
}

void AnswerParser::emit_call(const CalledTool& call, std::vector<AnswerEvent>& events) {
  held_.clear();
  any_text_ = false;
  if (!options_.parallel && calls_ > 0) return;
  events.push_back(
      {.kind = AnswerEvent::Kind::call_begin, .text = {}, .call = calls_, .id = id_of(call), .name = call.name});
  events.push_back({.kind = AnswerEvent::Kind::call_arguments, .text = call.arguments, .call = calls_});
  events.push_back({.kind = AnswerEvent::Kind::call_end, .text = {}, .call = calls_});
  ++calls_;
}

}  // namespace moxie
