# Fuzz targets (libFuzzer). One line a target: fuzz/NAME_fuzz.cpp becomes the program NAME_fuzz, which fuzz/run.sh runs with
# fuzz/dictionaries/NAME.dict if there is one. It starts from the seeds that fuzz/make_seeds.cpp writes for NAME and from the files of
# the folders named after SEEDS, which must be small.
function(moxie_fuzz name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SEEDS")
  add_executable(${name}_fuzz fuzz/${name}_fuzz.cpp)
  target_link_libraries(${name}_fuzz PRIVATE moxie_parsers)
  target_link_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
  list(JOIN arg_SEEDS "\n" folders)
  file(WRITE ${CMAKE_BINARY_DIR}/seeds/${name}.folders "${folders}\n")
endfunction()

# The layers that read files. The rest of the engine is not built in this preset: it takes many minutes under sanitizers.
set_target_properties(moxie moxie_cli moxie_server moxie_program PROPERTIES EXCLUDE_FROM_ALL ON)
set(parser_sources ${MOXIE_SOURCES})
list(FILTER parser_sources INCLUDE REGEX "src/(core|format|quant|text|chat|grammar|hub)/|src/store/(trace_|routing_trace|replay|cache_table|polic)")
add_library(moxie_parsers STATIC ${parser_sources})
target_include_directories(moxie_parsers PUBLIC include src)
target_link_libraries(moxie_parsers PUBLIC fmt::fmt nlohmann_json::nlohmann_json PkgConfig::PCRE2 PkgConfig::UTF8PROC Threads::Threads)
# The parsers need the facts of the weight types, never their loops: those are built as cheaply as can be.
set(parser_types ${MOXIE_SIMD_SOURCES})
list(FILTER parser_types INCLUDE REGEX "src/quant/")
foreach(target ${MOXIE_CPU_TARGETS})
  set_target_properties(moxie_simd_${target} PROPERTIES EXCLUDE_FROM_ALL ON)
  add_library(moxie_parser_types_${target} OBJECT ${parser_types})
  target_compile_definitions(moxie_parser_types_${target} PRIVATE MOXIE_TARGET=${target})
  target_compile_options(moxie_parser_types_${target} PRIVATE -O0 -g0 -fno-sanitize=all ${MOXIE_FLAGS_${target}})
  target_include_directories(moxie_parser_types_${target} PRIVATE include src)
  target_sources(moxie_parsers PRIVATE $<TARGET_OBJECTS:moxie_parser_types_${target}>)
endforeach()

moxie_fuzz(gguf)
moxie_fuzz(grammar)
moxie_fuzz(hub)
moxie_fuzz(pack)
moxie_fuzz(safetensors)
moxie_fuzz(quantized)
moxie_fuzz(json_config SEEDS ${CMAKE_SOURCE_DIR}/tests/data/golden/mixtral-shards)
moxie_fuzz(template SEEDS ${CMAKE_SOURCE_DIR}/tests/data/templates/seeds)
moxie_fuzz(trace)
moxie_fuzz(tokenizer SEEDS ${CMAKE_SOURCE_DIR}/tests/data/tokenizers/seeds)

add_executable(moxie_make_seeds fuzz/make_seeds.cpp)
target_link_libraries(moxie_make_seeds PRIVATE moxie_parsers)
