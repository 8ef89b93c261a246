// Options of the public API. Field names are the long flags of the program (dashes for underscores).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moxie {

enum class Severity { debug, info, warning };

struct EngineOptions {
  std::string model;       // .gguf (any shard), .safetensors, a folder or index of safetensors
  std::string arch;        // family to use instead of the one the file names; empty: the file's
  int64_t ctx_size = -1;   // tokens a sequence can hold; 0: the model's; -1: min(the model's, 4096)
  int threads = 0;         // 0: physical cores within affinity and quota
  std::string cpu_target;  // "amx", "avx512", "avxvnni", "avx2", "baseline"; empty: the best this machine has
  // Less exact and faster: activations are rounded to bfloat16 where weights are, on CPUs with AVX512-BF16 and no AMX.
  bool fast = false;
  std::string cache_type = "f16";  // KV cache: f32, f16, q8_0
  int64_t batch_size = 2048;       // prompt tokens taken in one call
  int64_t ubatch_size = 512;       // prompt tokens computed at once
  int parallel = 1;                // sequences for which the memory budget holds a whole context
  int64_t prefix_cache_bytes = 0;  // of the budget, for prefixes that are kept beyond those
  // Weights of floats become this type while the model opens, exactly as `moxie convert --type` makes them ("q4_k_m");
  // quantized ones stay as they are, which is said. Empty: nothing is quantized.
  std::string quantize;
  bool quantize_cache = false;  // what comes of it is kept in cache_folder/quantized, and found there again
  bool mmap = true;             // map weights where all of them fit (SIGBUS gets a handler then); false: read them
  // Experts under a budget. Peak resident memory stays at or under it: "12G", "60%", "auto" (what is free now), "all"
  // (every expert resident, or an error). Experts that do not fit are read from the files as they are wanted; the
  // answer is the same.
  std::string memory = "auto";
  int64_t expert_slots =
      -1;  // experts kept per layer instead of a budget; 0: none is kept; -1: as many as the budget holds
  std::string policy = "lfru";      // which expert gives way (moxie/help lists them)
  std::string lookahead = "auto";   // guess what later layers want: "off", "on", "auto" (measured while running)
  std::string io_backend = "auto";  // "io_uring", "threads"
  int io_depth = 0;                 // reads in flight, or reading threads; 0: fitted to the drive
  int64_t io_piece = 0;             // bytes of a read; 0: fitted
  bool direct_io = true;            // past the page cache, where the file system allows it
  bool warm = true;  // with a cache_folder, where experts stream: begin with the hot set of the last run, and save it
  std::string cache_folder;  // where small files are kept between runs; empty: nowhere
  std::string pin;  // experts that never give way: "layer:expert,layer:expert", or a profile's path (its use is known
                    // from the start)
  int pin_top = 1;  // of a profile: how many of each layer's most used experts are pinned
  // Lossy: each changes the answer, to read less. They act on steps of one token; which experts are in memory decides
  // what they do.
  bool skip_missing = false;  // leave chosen experts out that are not in memory, but for one
  float cache_prior = 0;      // prefer experts in memory: 0 to 1, a share of the range of the router's logits; 0: off
  float top1_threshold = 0;  // leave experts beyond the first out whose share of the weight is below it: 0 to 1; 0: off
  bool verify = false;       // compare everything that is read with the checksums of a pack; then nothing is mapped
  std::string trace_routing;  // file for the experts chosen at every step; empty: none
  bool vocab_only = false;    // tokenizer and metadata, no weights
  // Called from open() with the bytes made ready so far; return false to give up (Error cancelled).
  std::function<bool(uint64_t done, uint64_t total)> on_progress;
  // Notices and progress in words. The library itself never prints.
  std::function<void(Severity, std::string_view)> on_log;
};

// llama.cpp's samplers, names and defaults.
struct SamplingOptions {
  uint64_t seed = 0xFFFFFFFFu;  // 0xFFFFFFFF: drawn at random, reported in the result
  std::vector<std::string> samplers = {"penalties", "dry", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"};
  float temp = 0.8f;  // <= 0: greedy
  float dynatemp_range = 0.0f;
  float dynatemp_exponent = 1.0f;
  int top_k = 40;  // <= 0: all
  float top_p = 0.95f;
  float min_p = 0.05f;
  float typical = 1.0f;
  float top_nsigma = -1.0f;
  float xtc_probability = 0.0f;
  float xtc_threshold = 0.1f;
  int min_keep = 0;
  int repeat_last_n = 64;  // 0: off; -1: the context
  float repeat_penalty = 1.0f;
  float frequency_penalty = 0.0f;
  float presence_penalty = 0.0f;
  float dry_multiplier = 0.0f;
  float dry_base = 1.75f;
  int dry_allowed_length = 2;
  int dry_penalty_last_n = -1;
  std::vector<std::string> dry_sequence_breakers = {"\n", ":", "\"", "*"};
  int mirostat = 0;  // 0: off; 1, 2
  float mirostat_lr = 0.1f;
  float mirostat_ent = 5.0f;
  std::vector<std::pair<int32_t, float>> logit_bias;
  bool ignore_eos = false;
  // One of them at most: what the answer must match, from its first character to its end.
  std::string grammar;      // GBNF
  std::string json_schema;  // a JSON schema as text; "{}" for any JSON value
  std::string regex;        // JavaScript's syntax, for the whole answer
  std::string structure;    // a frame with free parts, as JSON: how tool calls are held to a model's form
};

struct GenerateOptions {
  int64_t max_tokens = -1;        // -1: until an end or the context is full
  std::vector<std::string> stop;  // texts that end the answer; not part of it
  bool context_shift = false;     // when the context is full, drop the older half and go on
  int64_t keep = 0;               // tokens at the start that a shift never drops
  bool special = false;           // control tokens are part of the text
  SamplingOptions sampling;
};

}  // namespace moxie
