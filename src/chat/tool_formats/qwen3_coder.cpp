// Qwen3-Coder, Nemotron 3, Step: <tool_call><function=NAME><parameter=KEY>value</parameter></function></tool_call>.
// Values are plain text; the tool's schema says what they are. Models leave <tool_call> out at times.
#include "chat/tool_format.h"
#include "chat/tool_frame.h"
#include "chat/tool_reading.h"

namespace moxie::call_formats {
namespace {

constexpr std::string_view kOpen = "<tool_call>", kClose = "</tool_call>";
constexpr std::string_view kFunction = "<function=", kFunctionEnd = "</function>";
constexpr std::string_view kParameter = "<parameter=", kParameterEnd = "</parameter>";

// One line end on either side is the format's, the rest is the value's.
std::string_view value_of(std::string_view text) {
  if (text.starts_with("\n")) text.remove_prefix(1);
  if (text.ends_with("\n")) text.remove_suffix(1);
  return text;
}

class Reader final : public BlockReader {
 public:
  Reader(const ToolSet& tools, bool wrapped) : tools_(tools), wrapped_(wrapped) { at_ = wrapped ? kOpen.size() : 0; }

  BlockScan scan(std::string_view block, End end) override {
    for (;;) {
      const Step step = state_ == State::function    ? function(block)
                        : state_ == State::parameter ? parameter(block)
                        : state_ == State::value     ? value(block)
                                                     : close(block, end.ended);
      if (step == Step::next) continue;
      if (step == Step::done) return finish();
      if (step == Step::broken || end.ended) return is_text();
      return more();
    }
  }

 private:
  enum class State { function, parameter, value, close };
  enum class Step { next, more, broken, done };

  Step function(std::string_view block) {
    const size_t at = skip_blanks(block, at_);
    const Stands stands = stands_at(block, at, kFunction);
    if (stands != Stands::yes) return stands == Stands::no ? Step::broken : Step::more;
    const size_t name = at + kFunction.size(), name_end = block.find('>', name);
    if (name_end == std::string_view::npos) return block.size() - name > 256 ? Step::broken : Step::more;
    call_.name = without_blanks(block.substr(name, name_end - name));
    if (call_.name.empty()) return Step::broken;
    at_ = name_end + 1;
    state_ = State::parameter;
    return Step::next;
  }

  // A parameter begins, or the function ends.
  Step parameter(std::string_view block) {
    const size_t at = skip_blanks(block, at_);
    if (stands_at(block, at, kFunctionEnd) == Stands::yes) {
      at_ = at + kFunctionEnd.size();
      state_ = State::close;
      return Step::next;
    }
    if (stands_at(block, at, kFunctionEnd) == Stands::partly) return Step::more;
    const Stands stands = stands_at(block, at, kParameter);
    if (stands != Stands::yes) return stands == Stands::no ? Step::broken : Step::more;
    const size_t name = at + kParameter.size(), name_end = block.find('>', name);
    if (name_end == std::string_view::npos) return Step::more;
    key_ = without_blanks(block.substr(name, name_end - name));
    if (key_.empty()) return Step::broken;
    at_ = seen_ = name_end + 1;
    state_ = State::value;
    return Step::next;
  }

  // A value ends at the mark behind which the format goes on: it may hold such marks itself.
  Step value(std::string_view block) {
    for (;;) {
      const size_t close = block.find(kParameterEnd, seen_);
      if (close == std::string_view::npos) {
        seen_ = std::max(seen_, block.size() < kParameterEnd.size() ? 0 : block.size() - kParameterEnd.size() + 1);
        return Step::more;
      }
      const size_t next = skip_blanks(block, close + kParameterEnd.size());
      const Stands another = stands_at(block, next, kParameter), end = stands_at(block, next, kFunctionEnd);
      if (another == Stands::yes || end == Stands::yes) {
        const Json typed = typed_value(tools_.find(call_.name), key_, value_of(block.substr(at_, close - at_)));
        arguments_.push_back({key_, typed});
        at_ = close + kParameterEnd.size();
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

  Step close(std::string_view block, bool ended) {
    if (!wrapped_) return Step::done;
    const size_t at = skip_blanks(block, at_);
    const Stands stands = stands_at(block, at, kClose);
    if (stands == Stands::partly && !ended) return Step::more;
    if (stands == Stands::yes) at_ = at + kClose.size();
    return Step::done;
  }

  BlockScan finish() {
    call_.arguments = to_text(Json{std::move(arguments_)});
    return is_call(at_, std::move(call_));
  }

  const ToolSet& tools_;
  const bool wrapped_;
  State state_ = State::function;
  size_t at_ = 0, seen_ = 0;
  CalledTool call_;
  std::string key_;
  Json::Object arguments_;
};

constexpr ToolMark kMarks[] = {{.text = kOpen}, {.text = kFunction}};

Json qwen3_coder_frame(const ToolSet& tools, bool many, std::string_view) {
  Json call = frame::each_tool(tools, [](const Tool& tool) {
    Json parameters = frame::parameters(tool, [](const std::string& name, bool) {
      return frame::ParameterFrame{.before = {frame::text("<parameter=" + name + ">\n")},
                                   .behind = {frame::text("\n</parameter>\n")},
                                   .end = "\n</parameter>"};
    });
    return frame::sequence({frame::token(kOpen), frame::text("\n<function=" + tool.name + ">\n"), std::move(parameters),
                            frame::text("</function>\n"), frame::token(kClose)});
  });
  return frame::with_call(std::move(call), frame::in_a_row(frame::rule("call"), frame::text("\n"), many));
}

}  // namespace

extern constinit const ToolFormat qwen3_coder = {
    .name = "qwen3-coder",
    .summary = "<tool_call><function=NAME><parameter=KEY>value (Qwen3-Coder, Nemotron 3, Step)",
    .matches = [](std::string_view text) { return contains(text, kFunction) && contains(text, kParameter); },
    .marks = kMarks,
    .read = [](const ToolSet& tools, size_t mark) -> std::unique_ptr<BlockReader> {
      return std::make_unique<Reader>(tools, mark == 0);
    },
    .frame = qwen3_coder_frame,
};

}  // namespace moxie::call_formats
