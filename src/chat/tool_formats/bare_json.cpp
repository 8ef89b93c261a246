// Calls without marks: the answer is, or begins with, JSON that names a tool. Llama 3 writes {"name", "parameters"}, or
// Python behind <|python_tag|>, or a list of Python calls; models without a format of their own are told to write
// {"tool_call": {"name", "arguments"}}.
//
// An answer may be JSON of another kind: what it is shows at its first key, so that it is not held back.
#include <algorithm>

#include "chat/tool_format.h"
#include "chat/tool_frame.h"
#include "chat/tool_reading.h"

namespace moxie::call_formats {
namespace {

constexpr std::string_view kPythonTag = "<|python_tag|>", kFence = "```";
constexpr std::string_view kCallKeys[] = {"name", "parameters", "arguments", "type", "function", "id"};
constexpr std::string_view kGenericKeys[] = {"tool_call",  "tool_calls", "response", "name", "arguments",
                                             "parameters", "function",   "type",     "id"};
constexpr size_t kPythonMax = size_t{64} << 10;
constexpr int kPythonTriesMax = 200;

// Could the object at `brace` be a call, going by its first key?
Stands first_key_is(std::string_view block, size_t brace, std::span<const std::string_view> keys) {
  const size_t quote = skip_blanks(block, brace + 1);
  if (quote == block.size()) return Stands::partly;
  if (block[quote] != '"') return Stands::no;
  const size_t end = block.find('"', quote + 1);
  if (end == std::string_view::npos) return block.size() - quote > 32 ? Stands::no : Stands::partly;
  const std::string_view key = block.substr(quote + 1, end - quote - 1);
  return std::find(keys.begin(), keys.end(), key) != keys.end() ? Stands::yes : Stands::no;
}

// JSON from a brace on, perhaps in a fence.
class JsonReader final : public BlockReader {
 public:
  struct Form {
    std::span<const std::string_view> keys;
    bool fenced = false, generic = false;
  };
  JsonReader(const ToolSet& tools, Form form) : tools_(tools), form_(form) {}

  BlockScan scan(std::string_view block, End end) override {
    if (!span_) {
      const Stands head = read_head(block);
      if (head == Stands::no || (head == Stands::partly && end.ended)) return is_text();
      if (head == Stands::partly) return more();
      const Stands key = first_key_is(block, begin_, form_.keys);
      if (key == Stands::no || (key == Stands::partly && end.ended)) return is_text();
      if (key == Stands::partly) return more();
      span_.emplace(begin_);
    }
    if (scan_.used == 0) {
      const ReadJson read = read_json(*span_, block, begin_, end);
      if (read.state == JsonSpan::State::more) return more();
      if (read.state == JsonSpan::State::broken || !take(read.json)) return is_text();
      scan_.used = read.end;
    }
    if (!form_.fenced) return scan_;
    const size_t at = skip_blanks(block, scan_.used);
    const Stands fence = stands_at(block, at, kFence);
    if (fence == Stands::partly && !end.ended) return more();
    if (fence == Stands::yes) scan_.used = at + kFence.size();
    return scan_;
  }

 private:
  // Where the object begins: at once, or behind "```json" and a line end.
  Stands read_head(std::string_view block) {
    begin_ = 0;
    if (!form_.fenced) return Stands::yes;
    size_t at = kFence.size();
    if (const Stands json = stands_at(block, at, "json"); json == Stands::yes) {
      at += 4;
    } else if (json == Stands::partly) {
      return Stands::partly;
    }
    begin_ = skip_blanks(block, at);
    if (begin_ == block.size()) return Stands::partly;
    return block[begin_] == '{' ? Stands::yes : Stands::no;
  }

  bool take(const Json& json) {
    scan_.verdict = BlockScan::Verdict::calls;
    if (!form_.generic) return add(json, true);
    if (const Json* one = json.find("tool_call")) return add(*one, false);
    if (const Json* several = json.find("tool_calls"); several && several->array() && !several->array()->empty()) {
      const auto& all = *several->array();
      return std::all_of(all.begin(), all.end(), [&](const Json& one) { return add(one, false); });
    }
    if (const Json* response = json.find("response"); response && response->text() && json.object()->size() == 1) {
      scan_.verdict = BlockScan::Verdict::answer;
      scan_.text = *response->text();
      return true;
    }
    return add(json, true);
  }

  bool add(const Json& json, bool must_be_offered) {
    auto call = call_of_json(json);
    if (!call || (must_be_offered && !tools_.find(call->name))) return false;
    scan_.calls.push_back(*std::move(call));
    return true;
  }

  const ToolSet& tools_;
  const Form form_;
  size_t begin_ = 0;
  std::optional<JsonSpan> span_;
  BlockScan scan_;
};

CalledTool to_call(const PythonCall& python) {
  CalledTool call{.id = {}, .name = python.name, .arguments = to_text(python.arguments)};
  if (call.name.ends_with(".call")) call.name.resize(call.name.size() - 5);
  return call;
}

// [first(a=1), second(b="x")]
class PythonListReader final : public BlockReader {
 public:
  explicit PythonListReader(const ToolSet& tools) : tools_(tools) {}
  BlockScan scan(std::string_view block, End end) override {
    const size_t name = skip_blanks(block, 1), bracket = block.find('(', name);
    const std::string_view first = block.substr(name, std::min(bracket, block.size()) - name);
    const bool may_be = std::any_of(tools_.tools().begin(), tools_.tools().end(), [&](const Tool& tool) {
      return bracket == std::string_view::npos ? tool.name.starts_with(first) : tool.name == first;
    });
    if (!may_be || block.size() > kPythonMax) return is_text();
    for (; tried_ < block.size(); ++tried_) {
      if (block[tried_] != ']') continue;
      auto scan = read(block.substr(0, tried_ + 1));
      if (scan) return *scan;
      if (++tries_ > kPythonTriesMax) return is_text();
    }
    return end.ended ? is_text() : more();
  }

 private:
  std::optional<BlockScan> read(std::string_view block) const {
    BlockScan scan{.verdict = BlockScan::Verdict::calls, .used = block.size()};
    for (size_t at = 1;;) {
      const auto python = read_python_call(block, at);
      if (!python || !tools_.find(python->name)) return std::nullopt;
      scan.calls.push_back(to_call(*python));
      at = skip_blanks(block, python->end);
      if (at + 1 == block.size()) return scan;  // the bracket
      if (at >= block.size() || block[at] != ',') return std::nullopt;
      ++at;
    }
  }

  const ToolSet& tools_;
  size_t tried_ = 1;
  int tries_ = 0;
};

// Behind <|python_tag|>: JSON, name.call(key="value"), or a program for the tool that runs one.
class PythonTagReader final : public BlockReader {
 public:
  explicit PythonTagReader(const ToolSet& tools) : tools_(tools) {}
  BlockScan scan(std::string_view block, End end) override {
    if (begin_ == 0) {
      begin_ = skip_blanks(block, kPythonTag.size());
      if (begin_ == block.size()) {
        begin_ = 0;
        return end.ended ? is_text() : more();
      }
      if (block[begin_] == '{') span_.emplace(begin_);
    }
    if (span_) {
      const ReadJson read = read_json(*span_, block, begin_, end);
      if (read.state == JsonSpan::State::more) return more();
      auto call = read.state == JsonSpan::State::whole ? call_of_json(read.json) : std::nullopt;
      return call ? is_call(read.end, *std::move(call)) : is_text();
    }
    if (!end.ended) return more();
    if (const auto python = read_python_call(block, begin_);
        python && skip_blanks(block, python->end) == block.size()) {
      return is_call(block.size(), to_call(*python));
    }
    for (const char* name : {"code_interpreter", "python", "ipython"}) {
      if (!tools_.find(name) || end.cut) continue;
      const Json arguments{Json::Object{{"code", Json{std::string(block.substr(begin_))}}}};
      return is_call(block.size(), {.id = {}, .name = name, .arguments = to_text(arguments)});
    }
    return is_text();
  }

 private:
  const ToolSet& tools_;
  size_t begin_ = 0;
  std::optional<JsonSpan> span_;
};

constexpr ToolMark kLlamaMarks[] = {
    {.text = kPythonTag, .control = true},
    {.text = "{", .where = ToolMark::Where::first},
    {.text = "[", .where = ToolMark::Where::first},
    {.text = ";", .where = ToolMark::Where::after_call},
};
constexpr ToolMark kGenericMarks[] = {
    {.text = "{", .where = ToolMark::Where::first},
    {.text = kFence, .where = ToolMark::Where::first},
};

Json llama_3_frame(const ToolSet& tools, bool many, std::string_view) {
  Json call = frame::each_tool(tools, [](const Tool& tool) { return frame::json_call(tool, "parameters"); });
  return frame::with_call(std::move(call), frame::in_a_row(frame::rule("call"), frame::text("; "), many));
}

Json generic_frame(const ToolSet& tools, bool many, std::string_view) {
  Json call = frame::each_tool(tools, [](const Tool& tool) { return frame::json_call(tool, "arguments"); });
  Json one = frame::sequence({frame::text("{\"tool_call\": "), frame::rule("call"), frame::text("}")});
  if (!many) return frame::with_call(std::move(call), std::move(one));
  Json several = frame::sequence({frame::text("{\"tool_calls\": ["),
                                  frame::in_a_row(frame::rule("call"), frame::text(", "), true), frame::text("]}")});
  return frame::with_call(std::move(call), frame::choice({std::move(one), std::move(several)}));
}

}  // namespace

extern constinit const ToolFormat llama_3 = {
    .name = "llama-3",
    .summary = "{\"name\", \"parameters\"}, or Python behind <|python_tag|> (Llama 3.1 to 3.3)",
    .matches =
        [](std::string_view text) {
          return contains(text, kPythonTag) ||
                 (contains(text, "<|start_header_id|>") && contains(text, "\"parameters\""));
        },
    .marks = kLlamaMarks,
    .read = [](const ToolSet& tools, size_t mark) -> std::unique_ptr<BlockReader> {
      if (mark == 0) return std::make_unique<PythonTagReader>(tools);
      if (mark == 1) return std::make_unique<JsonReader>(tools, JsonReader::Form{.keys = kCallKeys});
      if (mark == 2) return std::make_unique<PythonListReader>(tools);
      return separator_reader(1);
    },
    .frame = llama_3_frame,
};

extern constinit const ToolFormat generic = {
    .name = "generic",
    .summary = "{\"tool_call\": {\"name\", \"arguments\"}}, described in the system message",
    .matches = [](std::string_view) { return true; },
    .marks = kGenericMarks,
    .read = [](const ToolSet& tools, size_t mark) -> std::unique_ptr<BlockReader> {
      const JsonReader::Form form{.keys = kGenericKeys, .fenced = mark == 1, .generic = true};
      return std::make_unique<JsonReader>(tools, form);
    },
    .frame = generic_frame,
    .described = true,
};

}  // namespace moxie::call_formats
