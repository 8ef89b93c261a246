// Calls as tags with attributes: a block of <invoke name="NAME"> with <parameter name="KEY">value</parameter>. MiniMax
// writes them plainly, DeepSeek V3.2 and V4 with a mark of their own in every tag, and with string="true" or "false" in
// a parameter's.
#include "chat/tool_format.h"
#include "chat/tool_frame.h"
#include "chat/tool_reading.h"

namespace moxie::call_formats {
namespace {

struct Tags {
  std::string_view open, close;         // the block
  std::string_view invoke, invoke_end;  // up to the name's quote
  std::string_view parameter, parameter_end;
};

// The quoted attribute of that name in a tag's rest.
std::optional<std::string_view> attribute(std::string_view rest, std::string_view name) {
  const size_t at = rest.find(std::string(name) + "=\"");
  if (at == std::string_view::npos) return std::nullopt;
  const size_t begin = at + name.size() + 2, end = rest.find('"', begin);
  if (end == std::string_view::npos) return std::nullopt;
  return rest.substr(begin, end - begin);
}

class Reader final : public BlockReader {
 public:
  Reader(const ToolSet& tools, const Tags& tags) : tools_(tools), tags_(tags), at_(tags.open.size()) {}

  BlockScan scan(std::string_view block, End end) override {
    for (;;) {
      const Step step = state_ == State::invoke      ? invoke(block)
                        : state_ == State::parameter ? parameter(block)
                                                     : value(block);
      if (step == Step::next) continue;
      const bool complete = !scan_.calls.empty() && state_ == State::invoke;  // the closing mark may be left out
      if (step == Step::done || (end.ended && complete)) {
        if (scan_.calls.empty()) return is_text();
        scan_.verdict = BlockScan::Verdict::calls;
        scan_.used = at_;
        return std::move(scan_);
      }
      if (step == Step::broken || end.ended) return is_text();
      return more();
    }
  }

 private:
  enum class State { invoke, parameter, value };
  enum class Step { next, more, broken, done };

  // What stands next of two: the end of the surrounding tag, or a tag with attributes up to its '>'.
  Step tag(std::string_view block, std::string_view open, std::string_view close, std::string_view& rest,
           bool& closed) {
    const size_t at = skip_blanks(block, at_);
    const Stands opens = stands_at(block, at, open), closes = stands_at(block, at, close);
    closed = closes == Stands::yes;
    if (closed) {
      at_ = at + close.size();
      return Step::next;
    }
    if (opens != Stands::yes) return opens == Stands::no && closes == Stands::no ? Step::broken : Step::more;
    const size_t end = block.find('>', at);
    if (end == std::string_view::npos) return Step::more;
    rest = block.substr(at + open.size(), end - at - open.size());
    at_ = end + 1;
    return Step::next;
  }

  Step invoke(std::string_view block) {
    std::string_view rest;
    bool closed = false;
    const Step step = tag(block, tags_.invoke, tags_.close, rest, closed);
    if (step != Step::next) return step;
    if (closed) return Step::done;
    const auto name = attribute(rest, "name");
    if (!name || name->empty()) return Step::broken;
    call_ = CalledTool{.id = {}, .name = std::string(*name), .arguments = {}};
    arguments_.clear();
    state_ = State::parameter;
    return Step::next;
  }

  Step parameter(std::string_view block) {
    std::string_view rest;
    bool closed = false;
    const Step step = tag(block, tags_.parameter, tags_.invoke_end, rest, closed);
    if (step != Step::next) return step;
    if (closed) {
      call_.arguments = to_text(Json{arguments_});
      scan_.calls.push_back(call_);
      state_ = State::invoke;
      return Step::next;
    }
    const auto name = attribute(rest, "name");
    if (!name || name->empty()) return Step::broken;
    key_ = *name;
    const auto as_text = attribute(rest, "string");
    said_ = !as_text ? Said::nothing : *as_text == "true" ? Said::text : Said::json;
    seen_ = at_;
    state_ = State::value;
    return Step::next;
  }

  // A value ends at the mark behind which the format goes on: it may hold such marks itself.
  Step value(std::string_view block) {
    for (;;) {
      const size_t close = block.find(tags_.parameter_end, seen_);
      if (close == std::string_view::npos) {
        const size_t keep = tags_.parameter_end.size() - 1;
        seen_ = std::max(seen_, block.size() < keep ? 0 : block.size() - keep);
        return Step::more;
      }
      const size_t next = skip_blanks(block, close + tags_.parameter_end.size());
      const Stands another = stands_at(block, next, tags_.parameter), end = stands_at(block, next, tags_.invoke_end);
      if (another == Stands::yes || end == Stands::yes) {
        arguments_.push_back({key_, meaning(block.substr(at_, close - at_))});
        at_ = close + tags_.parameter_end.size();
        state_ = State::parameter;
        return Step::next;
      }
      if (another == Stands::partly || end == Stands::partly) {
        seen_ = close;
        return Step::more;
      }
      seen_ = close + 1;
    }
  }

  Json meaning(std::string_view text) const {
    if (said_ == Said::text) return Json{std::string(text)};
    if (said_ == Said::json) {
      if (auto parsed = parse_json(without_blanks(text), "value"); parsed.ok()) return *std::move(parsed);
    }
    return typed_value(tools_.find(call_.name), key_, text);
  }

  enum class Said { nothing, text, json };
  const ToolSet& tools_;
  const Tags& tags_;
  State state_ = State::invoke;
  size_t at_, seen_ = 0;
  CalledTool call_;
  std::string key_;
  Said said_ = Said::nothing;
  Json::Object arguments_;
  BlockScan scan_;
};

constexpr Tags kMinimax = {.open = "<minimax:tool_call>",
                           .close = "</minimax:tool_call>",
                           .invoke = "<invoke ",
                           .invoke_end = "</invoke>",
                           .parameter = "<parameter ",
                           .parameter_end = "</parameter>"};
constexpr Tags kDsml[] = {{.open = "<｜DSML｜function_calls>",
                           .close = "</｜DSML｜function_calls>",
                           .invoke = "<｜DSML｜invoke ",
                           .invoke_end = "</｜DSML｜invoke>",
                           .parameter = "<｜DSML｜parameter ",
                           .parameter_end = "</｜DSML｜parameter>"},
                          {.open = "<｜DSML｜tool_calls>",
                           .close = "</｜DSML｜tool_calls>",
                           .invoke = "<｜DSML｜invoke ",
                           .invoke_end = "</｜DSML｜invoke>",
                           .parameter = "<｜DSML｜parameter ",
                           .parameter_end = "</｜DSML｜parameter>"}};

constexpr ToolMark kMinimaxMarks[] = {{.text = kMinimax.open}};
constexpr ToolMark kDsmlMarks[] = {{.text = kDsml[0].open}, {.text = kDsml[1].open}};

Json invoke_frame(const ToolSet& tools, bool many, const Tags& tags, bool says_text) {
  const auto line = [](std::string_view text) { return frame::text(std::string(text) + "\n"); };
  Json call = frame::each_tool(tools, [&](const Tool& tool) {
    Json parameters = frame::parameters(tool, [&](const std::string& name, bool is_text) {
      const std::string attribute = !says_text ? "" : is_text ? " string=\"true\"" : " string=\"false\"";
      return frame::ParameterFrame{
          .before = {frame::text(std::string(tags.parameter) + "name=\"" + name + "\"" + attribute + ">")},
          .behind = {line(tags.parameter_end)},
          .end = tags.parameter_end};
    });
    return frame::sequence(
        {line(std::string(tags.invoke) + "name=\"" + tool.name + "\">"), std::move(parameters), line(tags.invoke_end)});
  });
  Json calls = frame::in_a_row(frame::rule("call"), frame::text(""), many);
  return frame::with_call(std::move(call), frame::sequence({frame::token(tags.open), frame::text("\n"),
                                                            std::move(calls), frame::token(tags.close)}));
}

Json minimax_frame(const ToolSet& tools, bool many, std::string_view) {
  return invoke_frame(tools, many, kMinimax, false);
}

Json dsml_frame(const ToolSet& tools, bool many, std::string_view chat_template) {
  return invoke_frame(tools, many, kDsml[contains(chat_template, "tool_calls>") ? 1 : 0], true);
}

}  // namespace

extern constinit const ToolFormat minimax = {
    .name = "minimax",
    .summary = "<minimax:tool_call><invoke name=\"NAME\"><parameter name=\"KEY\">value (MiniMax M2)",
    .matches = [](std::string_view text) { return contains(text, kMinimax.open); },
    .marks = kMinimaxMarks,
    .read = [](const ToolSet& tools, size_t) -> std::unique_ptr<BlockReader> {
      return std::make_unique<Reader>(tools, kMinimax);
    },
    .frame = minimax_frame,
};

extern constinit const ToolFormat deepseek_dsml = {
    .name = "deepseek-dsml",
    .summary = "<｜DSML｜invoke name=\"NAME\"> (DeepSeek V3.2 and V4)",
    .matches = [](std::string_view text) { return contains(text, "｜DSML｜"); },
    .marks = kDsmlMarks,
    .read = [](const ToolSet& tools, size_t mark) -> std::unique_ptr<BlockReader> {
      return std::make_unique<Reader>(tools, kDsml[mark]);
    },
    .frame = dsml_frame,
};

}  // namespace moxie::call_formats
