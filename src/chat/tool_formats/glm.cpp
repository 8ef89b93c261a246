// GLM 4.5 and later: <tool_call>NAME<arg_key>key</arg_key><arg_value>value</arg_value></tool_call>, with line ends
// between the parts or none. Texts stand as they are, other values as JSON.
#include "chat/tool_format.h"
#include "chat/tool_frame.h"
#include "chat/tool_reading.h"

namespace moxie::call_formats {
namespace {

constexpr std::string_view kOpen = "<tool_call>", kClose = "</tool_call>";
constexpr std::string_view kKey = "<arg_key>", kKeyEnd = "</arg_key>";
constexpr std::string_view kValue = "<arg_value>", kValueEnd = "</arg_value>";
constexpr size_t kNameMax = 256;

class Reader final : public BlockReader {
 public:
  explicit Reader(const ToolSet& tools) : tools_(tools) {}

  BlockScan scan(std::string_view block, End end) override {
    for (;;) {
      const Step step = state_ == State::name ? name(block) : state_ == State::key ? key(block) : value(block);
      if (step == Step::next) continue;
      if (step == Step::done) {
        call_.arguments = to_text(Json{std::move(arguments_)});
        return is_call(at_, std::move(call_));
      }
      if (step == Step::broken || end.ended) return is_text();
      return more();
    }
  }

 private:
  enum class State { name, key, value };
  enum class Step { next, more, broken, done };

  Step name(std::string_view block) {
    const size_t end = block.find('<', kOpen.size());
    if (end == std::string_view::npos) return block.size() > kOpen.size() + kNameMax ? Step::broken : Step::more;
    call_.name = without_blanks(block.substr(kOpen.size(), end - kOpen.size()));
    if (call_.name.empty() || call_.name.find_first_of(" \n{\"") != std::string::npos) return Step::broken;
    at_ = end;
    state_ = State::key;
    return Step::next;
  }

  Step key(std::string_view block) {
    const size_t at = skip_blanks(block, at_);
    const Stands closes = stands_at(block, at, kClose), opens = stands_at(block, at, kKey);
    if (closes == Stands::yes) {
      at_ = at + kClose.size();
      return Step::done;
    }
    if (opens != Stands::yes) return closes == Stands::no && opens == Stands::no ? Step::broken : Step::more;
    const size_t key = at + kKey.size(), key_end = block.find(kKeyEnd, key);
    if (key_end == std::string_view::npos) return Step::more;
    const size_t value = skip_blanks(block, key_end + kKeyEnd.size());
    const Stands stands = stands_at(block, value, kValue);
    if (stands != Stands::yes) return stands == Stands::no ? Step::broken : Step::more;
    key_ = without_blanks(block.substr(key, key_end - key));
    at_ = seen_ = value + kValue.size();
    state_ = State::value;
    return Step::next;
  }

  // A value ends at the mark behind which the format goes on: it may hold such marks itself.
  Step value(std::string_view block) {
    for (;;) {
      const size_t close = block.find(kValueEnd, seen_);
      if (close == std::string_view::npos) {
        seen_ = std::max(seen_, block.size() < kValueEnd.size() ? 0 : block.size() - kValueEnd.size() + 1);
        return Step::more;
      }
      const size_t next = skip_blanks(block, close + kValueEnd.size());
      const Stands another = stands_at(block, next, kKey), end = stands_at(block, next, kClose);
      if (another == Stands::yes || end == Stands::yes) {
        arguments_.push_back({key_, typed_value(tools_.find(call_.name), key_, block.substr(at_, close - at_))});
        at_ = close + kValueEnd.size();
        state_ = State::key;
        return Step::next;
      }
      if (another == Stands::partly || end == Stands::partly) {
        seen_ = close;
        return Step::more;
      }
      seen_ = close + 1;
    }
  }

  const ToolSet& tools_;
  State state_ = State::name;
  size_t at_ = 0, seen_ = 0;
  CalledTool call_;
  std::string key_;
  Json::Object arguments_;
};

constexpr ToolMark kMarks[] = {{.text = kOpen}};

Json glm_frame(const ToolSet& tools, bool many, std::string_view) {
  Json call = frame::each_tool(tools, [](const Tool& tool) {
    Json parameters = frame::parameters(tool, [](const std::string& name, bool) {
      return frame::ParameterFrame{.before = {frame::token(kKey), frame::text(name), frame::token(kKeyEnd),
                                              frame::text("\n"), frame::token(kValue)},
                                   .behind = {frame::token(kValueEnd), frame::text("\n")},
                                   .end = kValueEnd};
    });
    return frame::sequence(
        {frame::token(kOpen), frame::text(tool.name + "\n"), std::move(parameters), frame::token(kClose)});
  });
  return frame::with_call(std::move(call), frame::in_a_row(frame::rule("call"), frame::text("\n"), many));
}

}  // namespace

extern constinit const ToolFormat glm = {
    .name = "glm",
    .summary = "<tool_call>NAME<arg_key>key</arg_key><arg_value>value</arg_value></tool_call> (GLM 4.5 and later)",
    .matches = [](std::string_view text) { return contains(text, kKey) && contains(text, kOpen); },
    .marks = kMarks,
    .read = [](const ToolSet& tools, size_t) -> std::unique_ptr<BlockReader> {
      return std::make_unique<Reader>(tools);
    },
    .frame = glm_frame,
};

}  // namespace moxie::call_formats
