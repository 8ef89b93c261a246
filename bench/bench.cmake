# Micro-benchmarks. `ninja -C build kernels_bench`, where google-benchmark is installed; not part of the default build.
find_package(benchmark QUIET)
if(benchmark_FOUND)
  add_executable(kernels_bench EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/kernels_bench.cpp)
  target_include_directories(kernels_bench PRIVATE src)
  target_link_libraries(kernels_bench PRIVATE moxie benchmark::benchmark)
endif()

add_executable(grammar_bench EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/grammar_bench.cpp)
target_include_directories(grammar_bench PRIVATE src)
target_link_libraries(grammar_bench PRIVATE moxie fmt::fmt nlohmann_json::nlohmann_json)

add_executable(serving_bench EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/serving_bench.cpp)
target_include_directories(serving_bench PRIVATE src)
target_link_libraries(serving_bench PRIVATE moxie fmt::fmt)

if(COMMAND moxie_add_test)
  moxie_add_test(bench-compare tidy ${MOXIE_SCRIPTS}/with_python.sh ${CMAKE_SOURCE_DIR}/bench/compare_test.py)
endif()
