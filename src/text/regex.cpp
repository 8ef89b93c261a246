#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "core/fail.h"
#include "text/utf8.h"

namespace moxie {
namespace {

// The patterns in use need a few steps per character; a run of a million blanks is legitimate.
constexpr uint32_t kMatchStepsMax = 10'000'000;
constexpr uint32_t kMatchHeapKibMax = 64 * 1024;
constexpr size_t kPatternBytesMax = 64 * 1024;

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using CompileContext = std::unique_ptr<pcre2_compile_context, Deleter<pcre2_compile_context_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data_free>>;
using Code = std::unique_ptr<pcre2_code, Deleter<pcre2_code_free>>;

PCRE2_SPTR units(std::string_view text) {
  static const unsigned char kEmpty = 0;
  return text.data() ? reinterpret_cast<PCRE2_SPTR>(text.data()) : &kEmpty;
}

}  // namespace

struct Regex::Compiled {
  Code code;
};

Regex::Regex(std::unique_ptr<Compiled> compiled) : compiled_(std::move(compiled)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

Result<Regex> Regex::compile(std::string_view pattern) {
  if (pattern.size() > kPatternBytesMax) {
    return fail(ErrorCode::unsupported, "a pattern of {} bytes is longer than {}", pattern.size(), kPatternBytesMax);
  }
  MOXIE_TRY(const std::string translated, to_pcre2_syntax(pattern));
  const CompileContext context(pcre2_compile_context_create(nullptr));
  if (!context) return fail(ErrorCode::out_of_memory, "no memory to compile a pattern");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 100);
  int error = 0;
  PCRE2_SIZE where = 0;
  // Oniguruma's ^ and $ match at every line.
  constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  auto compiled = std::make_unique<Compiled>();
  compiled->code.reset(pcre2_compile(units(translated), translated.size(), kOptions, &error, &where, context.get()));
  if (!compiled->code) {
    char why[160] = "";
    pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(why), sizeof why);
    return fail(ErrorCode::unsupported, "pattern '{}' is not supported: {} at byte {} of '{}'", pattern.substr(0, 200),
                why, where, translated.substr(0, 200));
  }
  // Where the system forbids machine code at run time the interpreter does the same, slower.
  pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE);
  return Regex(std::move(compiled));
}

struct RegexScan::Buffers {
  MatchContext context;
  MatchData data;
};

RegexScan::RegexScan(const Regex& regex) : regex_(&regex), buffers_(std::make_unique<Buffers>()) {
  buffers_->context.reset(pcre2_match_context_create(nullptr));
  buffers_->data.reset(pcre2_match_data_create(1, nullptr));
  if (!buffers_->context || !buffers_->data) {
    done_ = true;
    return;
  }
  pcre2_set_match_limit(buffers_->context.get(), kMatchStepsMax);
  pcre2_set_heap_limit(buffers_->context.get(), kMatchHeapKibMax);
}

RegexScan::~RegexScan() = default;

void RegexScan::start(std::string_view text) {
  text_ = text;
  at_ = 0;
  done_ = !buffers_->context || !buffers_->data;
}

bool RegexScan::next(Match& match) {
  if (done_ || at_ > text_.size()) return false;
  const auto run = [&](uint32_t options) {
    return pcre2_match(regex_->compiled_->code.get(), units(text_), text_.size(), at_, options | PCRE2_NO_UTF_CHECK,
                       buffers_->data.get(), buffers_->context.get());
  };
  int status = run(0);
  if (status == PCRE2_ERROR_JIT_STACKLIMIT) status = run(PCRE2_NO_JIT);
  if (status < 0) {
    done_ = true;
    return false;
  }
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(buffers_->data.get());
  // \K in a look-around can make a match end before it begins, or begin before the last one ended.
  match = {std::max<size_t>(ends[0], at_), std::max<size_t>(ends[1], std::max<size_t>(ends[0], at_))};
  at_ = match.end;
  if (match.begin == match.end) at_ += match.end < text_.size() ? utf8_length(text_, match.end) : 1;
  return true;
}

}  // namespace moxie
