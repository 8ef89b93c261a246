#include "text/huggingface_json.h"

#include "core/fail.h"

namespace moxie {
namespace {

using nlohmann::json;

constexpr size_t kDepthMax = 64;  // real files nest about ten deep

// Receives the events of the parser. Returning false ends the parsing; error_ says why.
class Handler : public json::json_sax_t {
 public:
  explicit Handler(TokenizerJson& out) : out_(&out) {}
  const std::string& error() const { return error_; }

  bool null() override { return value(json(nullptr)); }
  bool boolean(bool b) override { return value(json(b)); }
  bool number_integer(number_integer_t n) override { return integer(n); }
  bool number_unsigned(number_unsigned_t n) override { return integer(n > INT64_MAX ? INT64_MAX : static_cast<int64_t>(n)); }
  bool number_float(number_float_t n, const string_t&) override { return value(json(n)); }
  bool binary(binary_t&) override { return give_up("binary value"); }

  bool string(string_t& text) override {
    if (list_ == List::none) return value(json(std::move(text)));
    if (list_ == List::pair) {
      if (pair_parts_ == 0) pair_.first = std::move(text);
      if (pair_parts_ == 1) pair_.second = std::move(text);
      ++pair_parts_;
      return true;
    }
    if (list_ == List::merges) {
      const size_t space = text.find(' ', 1);
      if (space == std::string::npos) return give_up(fmt::format("merge '{}' is not two tokens", text.substr(0, 80)));
      out_->merges.emplace_back(text.substr(0, space), text.substr(space + 1));
      return true;
    }
    return give_up("model.vocab: an id is a string");
  }

  bool start_object(size_t) override {
    if (list_ != List::none) return give_up("an object inside model.vocab or model.merges");
    if (is_model_list("vocab")) {
      list_ = List::vocabulary;
      return true;
    }
    return open(json::object());
  }
  bool end_object() override {
    if (list_ == List::vocabulary) {
      list_ = List::none;
      return true;
    }
    return close();
  }
  bool start_array(size_t) override {
    if (list_ == List::merges) {
      list_ = List::pair;
      pair_parts_ = 0;
      return true;
    }
    if (list_ != List::none) return give_up("an array inside model.vocab or a merge");
    if (is_model_list("merges")) {
      list_ = List::merges;
      return true;
    }
    return open(json::array());
  }
  bool end_array() override {
    if (list_ == List::pair) {
      if (pair_parts_ != 2) return give_up(fmt::format("a merge of {} tokens instead of 2", pair_parts_));
      out_->merges.push_back(std::move(pair_));
      list_ = List::merges;
      return true;
    }
    if (list_ == List::merges) {
      list_ = List::none;
      return true;
    }
    return close();
  }
  bool key(string_t& name) override {
    key_ = std::move(name);
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& e) override {
    return give_up(fmt::format("not JSON at byte {}: {}", position, e.what()));
  }

 private:
  enum class List { none, vocabulary, merges, pair };

  bool give_up(std::string why) {
    if (error_.empty()) error_ = std::move(why);
    return false;
  }

  bool is_model_list(std::string_view name) const { return open_.size() == 2 && model_open_ && key_ == name; }

  bool integer(int64_t n) {
    if (list_ == List::none) return value(json(n));
    if (list_ != List::vocabulary) return give_up("a number inside model.merges");
    out_->vocabulary.emplace_back(std::move(key_), n);
    return true;
  }

  json* place(json child) {
    if (open_.empty()) {
      out_->rest = std::move(child);
      return &out_->rest;
    }
    json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(child));
      return &parent.back();
    }
    json& slot = parent[key_];
    slot = std::move(child);
    return &slot;
  }

  bool value(json v) {
    if (list_ != List::none) return give_up("an entry of model.vocab or model.merges has the wrong kind");
    place(std::move(v));
    return true;
  }

  bool open(json v) {
    if (open_.size() >= kDepthMax) return give_up(fmt::format("nested more than {} deep", kDepthMax));
    if (open_.size() == 1 && key_ == "model") model_open_ = true;
    open_.push_back(place(std::move(v)));
    return true;
  }

  bool close() {
    open_.pop_back();
    if (open_.size() == 1) model_open_ = false;
    return true;
  }

  TokenizerJson* out_;
  std::vector<json*> open_;
  std::string key_, error_;
  List list_ = List::none;
  std::pair<std::string, std::string> pair_;
  int pair_parts_ = 0;
  bool model_open_ = false;
};

}  // namespace

Result<TokenizerJson> parse_tokenizer_json(std::string_view file) {
  TokenizerJson parsed;
  Handler handler(parsed);
  if (!json::sax_parse(file.begin(), file.end(), &handler)) {
    return fail(ErrorCode::corrupt, "tokenizer.json: {}", handler.error());
  }
  if (!parsed.rest.is_object()) return fail(ErrorCode::corrupt, "tokenizer.json: not a JSON object");
  return parsed;
}

}  // namespace moxie
