// tokenizer.model: a protobuf message of SentencePiece, read field by field with every length checked.
#include <bit>
#include <cstring>
#include <optional>

#include "core/fail.h"
#include "text/tokenizer_spec.h"

namespace moxie {
namespace {

// One field of a message. Lengths never reach over the end of the message.
struct Field {
  uint32_t number = 0;
  uint32_t wire = 0;       // 0 varint, 1 fixed 64, 2 bytes, 5 fixed 32
  uint64_t value = 0;      // of kinds 0, 1 and 5
  std::string_view bytes;  // of kind 2
};

class Message {
 public:
  explicit Message(std::string_view bytes) : bytes_(bytes) {}
  bool done() const { return at_ == bytes_.size(); }

  Result<Field> next() {
    MOXIE_TRY(const uint64_t key, varint());
    Field field{.number = static_cast<uint32_t>(key >> 3), .wire = static_cast<uint32_t>(key & 7)};
    switch (field.wire) {
      case 0: {
        MOXIE_TRY(field.value, varint());
        return field;
      }
      case 1:
        return fixed(field, 8);
      case 5:
        return fixed(field, 4);
      case 2: {
        MOXIE_TRY(const uint64_t length, varint());
        if (length > bytes_.size() - at_) {
          return fail(ErrorCode::corrupt,
                      "tokenizer.model: a field of {} bytes at offset {} reaches over the end ({} bytes left)", length,
                      at_, bytes_.size() - at_);
        }
        field.bytes = bytes_.substr(at_, length);
        at_ += length;
        return field;
      }
      default:
        return fail(ErrorCode::corrupt,
                    "tokenizer.model: unknown wire type {} at offset {}; this is no SentencePiece model", field.wire,
                    at_);
    }
  }

 private:
  Result<uint64_t> varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ >= bytes_.size())
        return fail(ErrorCode::corrupt, "tokenizer.model: ends within a number at offset {}", at_);
      const uint64_t byte = static_cast<unsigned char>(bytes_[at_++]);
      value |= (byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    return fail(ErrorCode::corrupt, "tokenizer.model: a number of more than 10 bytes at offset {}", at_);
  }

  Result<Field> fixed(Field field, size_t count) {
    if (bytes_.size() - at_ < count)
      return fail(ErrorCode::corrupt, "tokenizer.model: ends within a number at offset {}", at_);
    for (size_t i = 0; i < count; ++i) {
      field.value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes_[at_ + i])) << (8 * i);
    }
    at_ += count;
    return field;
  }

  std::string_view bytes_;
  size_t at_ = 0;
};

struct Trainer {
  uint64_t model_type = 1;  // SentencePiece's default: unigram
  bool suffix_spaces = false, byte_fallback = false;
  int64_t unknown = 0, bos = 1, eos = 2;
};

struct NormalizerSettings {
  std::string name;
  bool charsmap = false, dummy_prefix = true, remove_extra_spaces = true, escape_spaces = true;
};

int64_t signed_int32(uint64_t varint) {
  return static_cast<int32_t>(static_cast<uint32_t>(varint));
}

Result<void> read_piece(std::string_view bytes, TokenizerSpec& spec) {
  std::string text;
  float score = 0.0f;
  uint64_t type = 1;
  for (Message message(bytes); !message.done();) {
    MOXIE_TRY(const Field field, message.next());
    if (field.number == 1 && field.wire == 2) text = field.bytes;
    if (field.number == 2 && field.wire == 5) score = std::bit_cast<float>(static_cast<uint32_t>(field.value));
    if (field.number == 3 && field.wire == 0) type = field.value;
  }
  static constexpr TokenKind kKinds[] = {TokenKind::normal,       TokenKind::unknown, TokenKind::control,
                                         TokenKind::user_defined, TokenKind::unused,  TokenKind::byte};
  if (type < 1 || type > 6) {
    return fail(ErrorCode::corrupt, "tokenizer.model: piece {} has type {}, known are 1 to 6", spec.texts.size(), type);
  }
  spec.texts.push_back(std::move(text));
  spec.scores.push_back(score);
  spec.kinds.push_back(kKinds[type - 1]);
  return {};
}

Result<Trainer> read_trainer(std::string_view bytes) {
  Trainer trainer;
  for (Message message(bytes); !message.done();) {
    MOXIE_TRY(const Field field, message.next());
    if (field.wire != 0) continue;
    switch (field.number) {
      case 3:
        trainer.model_type = field.value;
        break;
      case 24:
        trainer.suffix_spaces = field.value != 0;
        break;
      case 35:
        trainer.byte_fallback = field.value != 0;
        break;
      case 40:
        trainer.unknown = signed_int32(field.value);
        break;
      case 41:
        trainer.bos = signed_int32(field.value);
        break;
      case 42:
        trainer.eos = signed_int32(field.value);
        break;
      default:
        break;
    }
  }
  return trainer;
}

Result<NormalizerSettings> read_normalizer(std::string_view bytes) {
  NormalizerSettings settings;
  for (Message message(bytes); !message.done();) {
    MOXIE_TRY(const Field field, message.next());
    switch (field.number) {
      case 1:
        settings.name = field.bytes;
        break;
      case 2:
        settings.charsmap = !field.bytes.empty();
        break;
      case 3:
        settings.dummy_prefix = field.value != 0;
        break;
      case 4:
        settings.remove_extra_spaces = field.value != 0;
        break;
      case 5:
        settings.escape_spaces = field.value != 0;
        break;
      default:
        break;
    }
  }
  return settings;
}

Result<void> check_supported(const Trainer& trainer) {
  static constexpr const char* kTypes[] = {"", "unigram", "bpe", "word", "char"};
  if (trainer.model_type != 2) {
    return fail(ErrorCode::unsupported, "tokenizer.model: model_type is {} ({}); moxie reads BPE (2)",
                trainer.model_type, trainer.model_type < std::size(kTypes) ? kTypes[trainer.model_type] : "unknown");
  }
  if (trainer.suffix_spaces) {
    return fail(ErrorCode::unsupported, "tokenizer.model: treat_whitespace_as_suffix is not supported");
  }
  return {};
}

Result<int32_t> checked_id(const char* what, int64_t id, const TokenizerSpec& spec) {
  if (id < 0) return -1;
  if (id >= spec.size()) {
    return fail(ErrorCode::corrupt, "tokenizer.model: {} is {}, the vocabulary has {} pieces", what, id, spec.size());
  }
  return static_cast<int32_t>(id);
}

void add_steps(const NormalizerSettings& settings, TokenizerSpec& spec) {
  if (settings.charsmap) {
    spec.notices.push_back(
        fmt::format("tokenizer.model normalizes by '{}'; its character map is not applied", settings.name));
  }
  if (settings.remove_extra_spaces) spec.normalizers.emplace_back(CollapseSpaces{});
  if (settings.dummy_prefix) spec.normalizers.emplace_back(PrependText{" "});
  if (settings.escape_spaces) spec.normalizers.emplace_back(ReplaceText{" ", std::string(kSpaceMark)});
  spec.space_mark = settings.escape_spaces;
  spec.strip_leading_space = settings.dummy_prefix;
}

}  // namespace

Result<TokenizerSpec> read_sentencepiece_model(std::string_view file) {
  TokenizerSpec spec;
  Trainer trainer;
  NormalizerSettings settings;
  for (Message message(file); !message.done();) {
    MOXIE_TRY(const Field field, message.next());
    if (field.wire != 2) continue;
    if (field.number == 1) {
      MOXIE_TRY_VOID(read_piece(field.bytes, spec));
    } else if (field.number == 2) {
      MOXIE_TRY(trainer, read_trainer(field.bytes));
    } else if (field.number == 3) {
      MOXIE_TRY(settings, read_normalizer(field.bytes));
    }
  }
  if (spec.texts.empty())
    return fail(ErrorCode::corrupt, "tokenizer.model: holds no pieces; this is no SentencePiece model");
  MOXIE_TRY_VOID(check_supported(trainer));
  MOXIE_TRY(spec.unknown, checked_id("unk_id", trainer.unknown, spec));
  MOXIE_TRY(spec.bos, checked_id("bos_id", trainer.bos, spec));
  MOXIE_TRY(spec.eos, checked_id("eos_id", trainer.eos, spec));
  spec.scheme = "sentencepiece bpe";
  spec.merge_by_score = true;
  spec.byte_fallback = trainer.byte_fallback;
  spec.frozen_user_defined = true;
  spec.resegment_unused = true;
  for (int32_t id = 0; id < spec.size(); ++id) {
    const TokenKind kind = spec.kinds[static_cast<size_t>(id)];
    if (kind != TokenKind::control && kind != TokenKind::unknown) continue;
    spec.added.push_back({.content = spec.texts[static_cast<size_t>(id)], .id = id, .special = true});
  }
  if (spec.bos >= 0) spec.prefix = {spec.bos};
  add_steps(settings, spec);
  return spec;
}

}  // namespace moxie
