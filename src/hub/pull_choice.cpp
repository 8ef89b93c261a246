#include "hub/pull_choice.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "core/edit_distance.h"
#include "core/fail.h"
#include "core/folder.h"
#include "core/printable.h"

namespace moxie {
namespace {

constexpr size_t kNamesShown = 12;

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

// "[...]" at the pattern's start: does it match `c`, and how long is it? 0: it is no such set.
size_t match_set(std::string_view pattern, char c, bool& matched) {
  size_t at = 1;
  const bool negated = at < pattern.size() && pattern[at] == '!';
  if (negated) ++at;
  const size_t first = at;
  matched = false;
  for (; at < pattern.size() && (pattern[at] != ']' || at == first); ++at) {
    if (at + 2 < pattern.size() && pattern[at + 1] == '-' && pattern[at + 2] != ']') {
      matched |= pattern[at] <= c && c <= pattern[at + 2];
      at += 2;
    } else {
      matched |= pattern[at] == c;
    }
  }
  if (at >= pattern.size()) return 0;
  matched ^= negated;
  return at + 1;
}

// "a/b-Q4_K_M-00001-of-00002.gguf" -> "a/b-Q4_K_M"; a file of its own: without ".gguf".
std::string gguf_stem(std::string_view path) {
  std::string_view stem = path.substr(0, path.size() - std::string_view(".gguf").size());
  const size_t of = stem.rfind("-of-");
  const size_t dash = of == std::string_view::npos || of == 0 ? of : stem.rfind('-', of - 1);
  if (of == std::string_view::npos || dash == std::string_view::npos) return std::string(stem);
  const auto digits = [](std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  };
  if (!digits(stem.substr(of + 4)) || !digits(stem.substr(dash + 1, of - dash - 1))) return std::string(stem);
  return std::string(stem.substr(0, dash));
}

// How a weight type begins that stands in file names: Q4_K_M, IQ2_XXS, TQ1_0, MXFP4, F16, BF16, UD-Q4_K_XL.
bool is_quant_word(std::string_view word) {
  const std::string text = upper(word);
  const auto digit_after = [&](std::string_view prefix) {
    return text.size() > prefix.size() && text.starts_with(prefix) && text[prefix.size()] >= '0' &&
           text[prefix.size()] <= '9';
  };
  return digit_after("Q") || digit_after("IQ") || digit_after("TQ") || text == "F16" || text == "F32" ||
         text == "BF16" || text == "FP16" || text == "MXFP4" || text == "NVFP4";
}

// The quantization in a file's stem: the last word between '-', '.' and '/' that is one.
std::string quant_of(std::string_view stem) {
  std::string found;
  for (size_t begin = 0; begin <= stem.size();) {
    const size_t end = std::min(stem.find_first_of("-./", begin), stem.size());
    const std::string_view word = stem.substr(begin, end - begin);
    if (is_quant_word(word)) found = upper(word);
    begin = end + 1;
  }
  return found;
}

bool is_side_gguf(std::string_view path) {
  const std::string name = upper(file_name(std::string(path)));
  return name.find("MMPROJ") != std::string::npos || name.find("IMATRIX") != std::string::npos;
}

bool has_ending(std::string_view path, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view ending) { return path.ends_with(ending); });
}

// What goes with safetensors: configuration, tokenizer, template.
bool is_model_side_file(std::string_view path) {
  if (path.starts_with("additional_chat_templates/") && path.ends_with(".jinja")) return true;
  if (path.find('/') != std::string_view::npos) return false;
  for (const std::string_view name :
       {"config.json", "generation_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json",
        "chat_template.jinja", "tekken.json", "params.json", "vocab.json", "merges.txt", "quantize_config.json",
        "quantization_config.json", "hf_quant_config.json", "recipe.yaml"}) {
    if (path == name) return true;
  }
  return path.starts_with("tokenizer") || path.ends_with(".safetensors.index.json");
}

// At the top of the repository, or all in one folder where the top has none.
std::vector<HubEntry> safetensors_of(const HubListing& listing) {
  std::vector<HubEntry> plain, consolidated;
  for (const HubEntry& entry : listing.files) {
    if (!entry.path.ends_with(".safetensors") || entry.path.find('/') != std::string::npos) continue;
    (entry.path.starts_with("consolidated") ? consolidated : plain).push_back(entry);
  }
  return plain.empty() ? consolidated : plain;  // of a model in both forms one is enough
}

std::vector<HubEntry> with_side_files(const HubListing& listing, std::vector<HubEntry> weights) {
  for (const HubEntry& entry : listing.files) {
    if (is_model_side_file(entry.path)) weights.push_back(entry);
  }
  std::sort(weights.begin(), weights.end(), [](const HubEntry& a, const HubEntry& b) { return a.path < b.path; });
  return weights;
}

std::string names_of(const std::vector<HubEntry>& files) {
  std::string out;
  for (size_t i = 0; i < std::min(files.size(), kNamesShown); ++i)
    out += fmt::format("{}{}", i > 0 ? ", " : "", printable(files[i].path));
  if (files.size() > kNamesShown) out += fmt::format(" and {} more", files.size() - kNamesShown);
  return out;
}

Error no_such_file(const HubListing& listing, std::string_view wanted) {
  std::vector<std::string_view> paths;
  for (const HubEntry& entry : listing.files) paths.push_back(entry.path);
  std::string_view near = nearest_name(wanted, paths);
  std::vector<std::string> quants;
  for (const HubModel& model : hub_models(listing)) {
    if (!model.quant.empty()) quants.push_back(model.quant);
  }
  std::string hint;
  if (!near.empty()) {
    hint = fmt::format("did you mean '{}'?", printable(near));
  } else if (!quants.empty()) {
    hint = fmt::format("its GGUF files are {}", fmt::join(quants, ", "));
  } else {
    hint = fmt::format("it has {}", names_of(listing.files));
  }
  return fail(ErrorCode::not_found, "{} has no file '{}' at revision {}; {}", listing.repo, printable(wanted),
              printable(listing.revision), hint);
}

// All parts of the model that a GGUF file belongs to.
std::vector<HubEntry> all_parts(const HubListing& listing, const HubEntry& part) {
  if (!part.path.ends_with(".gguf")) return {part};
  const std::string stem = gguf_stem(part.path);
  if (part.path == stem + ".gguf") return {part};
  std::vector<HubEntry> parts;
  for (const HubEntry& entry : listing.files) {
    if (entry.path.ends_with(".gguf") && entry.path != stem + ".gguf" && gguf_stem(entry.path) == stem)
      parts.push_back(entry);
  }
  return parts;
}

void add_unique(std::vector<HubEntry>& files, const std::vector<HubEntry>& more) {
  for (const HubEntry& entry : more) {
    const bool there =
        std::any_of(files.begin(), files.end(), [&](const HubEntry& other) { return other.path == entry.path; });
    if (!there) files.push_back(entry);
  }
}

// One name as the user gave it: a path, a quantization or a pattern.
Result<std::vector<HubEntry>> find_named(const HubListing& listing, const std::string& wanted) {
  if (const HubEntry* entry = listing.find(wanted)) return all_parts(listing, *entry);
  std::vector<HubEntry> found;
  if (is_pattern(wanted)) {
    for (const HubEntry& entry : listing.files) {
      if (matches_pattern(entry.path, wanted)) add_unique(found, all_parts(listing, entry));
    }
    if (found.empty()) {
      return fail(ErrorCode::not_found, "no file of {} matches '{}'; it has {}", listing.repo, printable(wanted),
                  names_of(listing.files));
    }
    return found;
  }
  const std::string quant = upper(wanted);
  std::vector<HubModel> fitting;
  for (HubModel& model : hub_models(listing)) {
    if (model.quant == quant || model.name == wanted) fitting.push_back(std::move(model));
  }
  if (fitting.size() == 1) return fitting.front().files;
  if (fitting.size() > 1) {
    std::vector<std::string> names;
    for (const HubModel& model : fitting) names.push_back(model.files.front().path);
    return fail(ErrorCode::invalid_argument, "{}: '{}' stands for {} models: {}; name one of the files", listing.repo,
                printable(wanted), fitting.size(), fmt::join(names, ", "));
  }
  return no_such_file(listing, wanted);
}

Error no_weights(const HubListing& listing) {
  const bool pickles = std::any_of(listing.files.begin(), listing.files.end(), [](const HubEntry& entry) {
    return has_ending(entry.path, {".bin", ".pt", ".pth", ".ckpt"});
  });
  if (pickles) {
    return fail(
        ErrorCode::unsupported,
        "{} has its weights only as PyTorch files, which moxie does not read, as loading a pickle runs code "
        "from the file; look for a safetensors or GGUF version of the model (--all-files pulls the files anyway)",
        listing.repo);
  }
  return fail(ErrorCode::not_found, "{} holds no weights at revision {}; it has {}", listing.repo,
              printable(listing.revision), listing.files.empty() ? "no files" : names_of(listing.files));
}

bool matches_any(const std::string& path, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(), [&](std::string pattern) {
    if (pattern.ends_with('/')) pattern += '*';  // a folder
    return matches_pattern(path, pattern);
  });
}

}  // namespace

bool matches_pattern(std::string_view text, std::string_view pattern) {
  size_t t = 0, p = 0;
  size_t star = std::string_view::npos, star_text = 0;  // where to go on when what follows the last * does not match
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
      continue;
    }
    if (p < pattern.size()) {
      bool matched = pattern[p] == '?' || pattern[p] == text[t];
      size_t length = 1;
      if (pattern[p] == '[') {
        bool in_set = false;
        if (const size_t set = match_set(pattern.substr(p), text[t], in_set); set > 0) {
          matched = in_set;
          length = set;
        }
      }
      if (matched) {
        p += length;
        ++t;
        continue;
      }
    }
    if (star == std::string_view::npos) return false;
    p = star + 1;
    t = ++star_text;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool is_pattern(std::string_view text) {
  return text.find_first_of("*?[") != std::string_view::npos;
}

std::optional<uint64_t> HubModel::bytes() const {
  uint64_t sum = 0;
  for (const HubEntry& entry : files) {
    if (!entry.bytes || *entry.bytes > UINT64_MAX - sum) return std::nullopt;
    sum += *entry.bytes;
  }
  return sum;
}

Error several_models(const std::string& repo, const std::vector<HubModel>& models) {
  std::vector<std::string> names;
  for (const HubModel& model : models) names.push_back(printable(model.name));
  return fail(ErrorCode::invalid_argument, "{} has {} models: {}; name one, for example hf:{}:{}", repo, names.size(),
              fmt::join(names, ", "), repo, names.front());
}

std::vector<HubModel> hub_models(const HubListing& listing) {
  std::map<std::string, HubModel> by_stem;
  for (const HubEntry& entry : listing.files) {
    if (!entry.path.ends_with(".gguf") || is_side_gguf(entry.path)) continue;
    const std::string stem = gguf_stem(entry.path);
    HubModel& model = by_stem[stem + (stem + ".gguf" == entry.path ? ".gguf" : "-parts")];
    model.quant = quant_of(stem);
    model.files.push_back(entry);
  }
  std::vector<HubModel> models;
  for (auto& [stem, model] : by_stem) models.push_back(std::move(model));
  for (HubModel& model : models) {
    const auto same =
        std::count_if(models.begin(), models.end(), [&](const HubModel& other) { return other.quant == model.quant; });
    model.name = model.quant.empty() || same > 1 ? model.files.front().path : model.quant;
  }
  std::stable_sort(models.begin(), models.end(), [](const HubModel& a, const HubModel& b) {
    return a.bytes().value_or(UINT64_MAX) < b.bytes().value_or(UINT64_MAX);
  });
  if (std::vector<HubEntry> weights = safetensors_of(listing); !weights.empty())
    models.push_back({.name = "*.safetensors", .files = with_side_files(listing, std::move(weights))});
  return models;
}

Result<PullChoice> choose_files(const HubListing& listing, const PullRequest& request) {
  PullChoice choice;
  std::vector<std::string> named = request.files;
  if (!request.file.empty()) named.insert(named.begin(), request.file);
  for (const std::string& name : named) {
    MOXIE_TRY(const std::vector<HubEntry> found, find_named(listing, name));
    // The safetensors by pattern are a model, which needs its configuration.
    add_unique(choice.files, name == "*.safetensors" ? with_side_files(listing, found) : found);
  }
  const bool filtered = !request.include.empty() || !request.exclude.empty() || request.everything;
  if (named.empty() && filtered) choice.files = listing.files;
  if (filtered) {
    std::erase_if(choice.files, [&](const HubEntry& entry) {
      return (!request.include.empty() && !matches_any(entry.path, request.include)) ||
             matches_any(entry.path, request.exclude);
    });
    if (choice.files.empty()) {
      return fail(ErrorCode::not_found, "--include and --exclude leave no file of {}; it has {}", listing.repo,
                  names_of(listing.files));
    }
  }
  if (!choice.files.empty()) return choice;
  choice.models = hub_models(listing);
  if (choice.models.empty()) return no_weights(listing);
  if (choice.models.size() == 1) {
    choice.files = choice.models.front().files;
    choice.models.clear();
  }
  return choice;
}

}  // namespace moxie
