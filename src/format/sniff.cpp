#include "format/sniff.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>

#include "core/ascii.h"
#include "core/fail.h"
#include "core/file.h"
#include "core/folder.h"
#include "format/messages.h"

namespace moxie {
namespace {

constexpr uint64_t kPointerBytesMax = 1024;
constexpr size_t kZerosMin = 4096;

std::string_view skip_blank(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  return text;
}

// The size that a Git-LFS pointer states, 0 where it does not.
uint64_t pointer_size(std::string_view text) {
  const size_t at = text.find("\nsize ");
  uint64_t size = 0;
  if (at != std::string_view::npos) std::from_chars(text.data() + at + 6, text.data() + text.size(), size);
  return size;
}

std::optional<Error> diagnose_text(const std::string& path, std::string_view first_bytes, uint64_t file_bytes) {
  if (first_bytes.starts_with("version https://") && first_bytes.find("git-lfs.github.com/spec/v1\n") == 16 &&
      file_bytes <= kPointerBytesMax) {
    const uint64_t size = pointer_size(first_bytes);
    return fail(Diagnosis{.code = "lfs-pointer",
                          .found = fmt::format("a pointer of {} bytes", file_bytes),
                          .expected = size == 0 ? "the file it stands for" : fmt::format("a file of {} bytes", size)},
                ErrorCode::corrupt,
                "{}: is a Git-LFS pointer of {} bytes, not the file it stands for ({}); run `git lfs pull` in its "
                "folder, or download "
                "the file from its page's /resolve/ address",
                path, file_bytes, size == 0 ? "of unknown size" : fmt::format("{} bytes", size));
  }
  const std::string_view text = skip_blank(first_bytes);
  const std::string start = ascii_lower(text.substr(0, 16));
  if (start.starts_with("<!do") || start.starts_with("<htm")) {
    return fail(
        Diagnosis{
            .code = "web-page", .found = fmt::format("a web page of {} bytes", file_bytes), .expected = "weights"},
        ErrorCode::corrupt,
        "{}: is a web page of {} bytes, not a model: the download was answered with a login or error page; "
        "download it again "
        "from the file's /resolve/ address, with a token if the model is gated",
        path, file_bytes);
  }
  for (const std::string_view body :
       {"Entry not found", "{\"error", "Invalid username", "Access to model", "Repository not found"}) {
    if (!text.starts_with(body)) continue;
    return fail(Diagnosis{.code = "hub-answer", .found = printable(text.substr(0, 100)), .expected = "weights"},
                ErrorCode::corrupt,
                "{}: holds the hub's answer \"{}\", not a model: the address was wrong, or the model is private or "
                "gated; check the name, "
                "accept the licence on its page, and download with a token",
                path, printable(text.substr(0, 100)));
  }
  return std::nullopt;
}

std::optional<Error> diagnose_binary(const std::string& path, std::string_view first_bytes, uint64_t file_bytes) {
  if (first_bytes.starts_with("PK\x03\x04")) {
    return fail(Diagnosis{.code = path.ends_with(".npz") ? "mlx-npz" : "pickle",
                          .found = "a zip archive",
                          .expected = "GGUF or safetensors"},
                ErrorCode::unsupported,
                "{}: is a zip archive: a PyTorch checkpoint (.bin, .pt, .pth) or NumPy file (.npz). moxie does not "
                "read these, as "
                "loading a pickle runs code from the file; get the safetensors revision of the model or a GGUF file",
                path);
  }
  if (first_bytes.size() >= 2 && first_bytes[0] == '\x80' && first_bytes[1] >= 2 && first_bytes[1] <= 5) {
    return fail(Diagnosis{.code = "pickle", .found = "a pickle", .expected = "GGUF or safetensors"},
                ErrorCode::unsupported,
                "{}: is a pickle (an old PyTorch checkpoint). moxie does not read these, as loading one runs code from "
                "the file; get the "
                "safetensors revision of the model or a GGUF file",
                path);
  }
  for (const std::string_view magic : {"lmgg", "fmgg", "tjgg", "algg"}) {
    if (!first_bytes.starts_with(magic)) continue;
    return fail(Diagnosis{.code = "old-ggml", .found = fmt::format("magic {}", magic), .expected = "GGUF"},
                ErrorCode::unsupported,
                "{}: is a GGML file from before August 2023 (magic \"{}\"), older than GGUF; get a GGUF file of the "
                "model, or convert the "
                "original weights anew",
                path, magic);
  }
  const auto is_zero = [](char c) { return c == 0; };
  if (first_bytes.size() >= std::min<uint64_t>(kZerosMin, file_bytes) && !first_bytes.empty() &&
      std::all_of(first_bytes.begin(),
                  first_bytes.begin() + static_cast<std::ptrdiff_t>(std::min(kZerosMin, first_bytes.size())),
                  is_zero)) {
    return fail(Diagnosis{.code = "unfinished-download", .found = "zero bytes", .expected = "a header"},
                ErrorCode::corrupt,
                "{}: begins with {} zero bytes: space was set aside for a download of {} bytes that did not finish; "
                "resume it or download "
                "the file again",
                path, std::min(kZerosMin, first_bytes.size()), file_bytes);
  }
  return std::nullopt;
}

}  // namespace

Result<void> check_exists(const std::string& path) {
  if (path.empty())
    return fail(ErrorCode::invalid_argument, "no model given: name a .gguf file or a folder of safetensors");
  if (is_broken_link(path)) {
    return fail(Diagnosis{.code = "broken-link", .found = "a link whose target is absent", .expected = "a file"},
                ErrorCode::not_found,
                "{}: is a link to a file that is not there: the download was interrupted or its blob deleted; download "
                "the model again",
                path);
  }
  if (is_folder(path) || is_file(path)) return {};
  if (is_present(path)) {
    return fail(Diagnosis{.code = "not-found", .found = "neither a file nor a folder", .expected = "weights"},
                ErrorCode::invalid_argument,
                "{}: is neither a file nor a folder; give a .gguf file or a folder of safetensors", path);
  }
  auto file = File::open(path);  // says why
  if (!file.ok()) {
    Error error = add_remedy(std::move(file).error(), "check the path and its permissions");
    const bool absent = error.code == ErrorCode::not_found;
    return diagnosed({.code = absent ? "not-found" : "unreadable", .found = "nothing"}, std::move(error));
  }
  return {};
}

Result<void> check_ending(const std::string& path) {
  if (!path.ends_with(".uqff")) return {};
  return fail(Diagnosis{.code = "quantized-otherwise", .found = "UQFF", .expected = "GGUF or safetensors"},
              ErrorCode::unsupported,
              "{}: is a UQFF file, the private container of mistral.rs, which moxie does not read; get a GGUF file of "
              "the model, or its unquantized checkpoint",
              path);
}

std::optional<Error> diagnose_bytes(const std::string& path, std::string_view first_bytes, uint64_t file_bytes) {
  if (file_bytes == 0) {
    return fail(Diagnosis{.code = "empty-file", .found = "0 bytes", .expected = "weights"}, ErrorCode::corrupt,
                "{}: is empty (0 bytes): the download did not start or the disk was full; download it again", path);
  }
  if (auto error = diagnose_text(path, first_bytes, file_bytes)) return error;
  return diagnose_binary(path, first_bytes, file_bytes);
}

Error unknown_file_error(const std::string& path, std::string_view first_bytes, uint64_t file_bytes) {
  if (auto error = diagnose_bytes(path, first_bytes, file_bytes)) return std::move(*error);
  if (is_byte_split_name(file_name(path))) {
    return fail(Diagnosis{.code = "byte-split", .found = "one piece", .expected = "the whole file"},
                ErrorCode::unsupported, "{}: is no weight file by itself: {}", path, byte_split_remedy(path));
  }
  if (std::string_view("GGUF").starts_with(first_bytes)) {
    return fail(
        Diagnosis{.code = "truncated", .found = fmt::format("{} bytes", file_bytes), .expected = "a whole header"},
        ErrorCode::corrupt,
        "{}: is {} bytes long, too short for any weight file: the download is incomplete; download it again", path,
        file_bytes);
  }
  if (path.ends_with(".safetensors") && first_bytes.size() > 8) {
    uint64_t length = 0;
    std::memcpy(&length, first_bytes.data(), sizeof length);
    return fail(
        Diagnosis{
            .code = "damaged", .found = fmt::format("header length {}", length), .expected = "2 to 100000000, then {"},
        ErrorCode::corrupt,
        "{}: is no safetensors file: it would begin with a header length from 2 to 100000000 and \"{{\", but "
        "has the header length {} and \"{}\"; download it again",
        path, length, printable(first_bytes.substr(8, 1)));
  }
  return fail(
      Diagnosis{
          .code = "unknown-file", .found = printable(first_bytes.substr(0, 16)), .expected = "GGUF or safetensors"},
      ErrorCode::unsupported,
      "{}: is no weight file that moxie knows (it begins with \"{}\", {} bytes); give a .gguf file, a "
      ".safetensors file, or a folder "
      "that holds config.json and safetensors",
      path, printable(first_bytes.substr(0, 16)), file_bytes);
}

}  // namespace moxie
