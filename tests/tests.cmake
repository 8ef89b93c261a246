# The tests. moxie_tests holds the unit tests that sit beside the sources, moxie_model_tests those that cross layers (tests/); scripts
# check what a C++ test cannot. Labels: unit, golden, tidy run by default; slow and oracle on request (./dev test --all, --oracle).
find_package(GTest REQUIRED)
set(MOXIE_RESULTS ${CMAKE_BINARY_DIR}/test-results)

# moxie_add_test(NAME LABEL COMMAND...): the command's single tests are counted into test-results/NAME.count, which ./dev test sums up.
function(moxie_add_test name label)
  add_test(NAME ${name} COMMAND ${CMAKE_SOURCE_DIR}/tests/scripts/count.sh ${MOXIE_RESULTS}/${name} ${ARGN}
           WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 900 SKIP_RETURN_CODE 77)
endfunction()

# moxie_add_cases(PROGRAM LABEL SOURCES...): a GoogleTest program. Two entries share its cases, so that two processors are busy.
function(moxie_add_cases program label)
  add_executable(${program} ${ARGN} ${CMAKE_SOURCE_DIR}/tests/support/paths.cpp)
  target_include_directories(${program} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(${program} PRIVATE moxie_cli GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_options(${program} PRIVATE $<$<NOT:$<CONFIG:Debug>>:-O1>)  # compiles faster; moxie itself is optimised as ever
  moxie_join_folders(${program})
  add_dependencies(${program} moxie_program)
  foreach(shard 0 1)
    moxie_add_test(cases-${program}-${shard} ${label} $<TARGET_FILE:${program}>)
    set_tests_properties(cases-${program}-${shard} PROPERTIES
                         ENVIRONMENT "GTEST_TOTAL_SHARDS=2;GTEST_SHARD_INDEX=${shard}")
  endforeach()
endfunction()

set_source_files_properties(${CMAKE_SOURCE_DIR}/tests/support/paths.cpp PROPERTIES COMPILE_DEFINITIONS
                            "MOXIE_SOURCE_DIR=\"${CMAKE_SOURCE_DIR}\";MOXIE_PROGRAM=\"$<TARGET_FILE:moxie_program>\"")

moxie_add_cases(moxie_tests unit ${MOXIE_TEST_SOURCES})
if(MOXIE_MODEL_TEST_SOURCES)
  moxie_add_cases(moxie_model_tests golden ${MOXIE_MODEL_TEST_SOURCES})
endif()

set(MOXIE_SCRIPTS ${CMAKE_SOURCE_DIR}/tests/scripts)
moxie_add_test(tidy-layers tidy ${MOXIE_SCRIPTS}/layers.sh ${CMAKE_SOURCE_DIR})
moxie_add_test(tidy-lists tidy ${MOXIE_SCRIPTS}/lists.sh ${CMAKE_SOURCE_DIR})
moxie_add_test(tidy-hygiene tidy ${MOXIE_SCRIPTS}/hygiene.sh ${CMAKE_SOURCE_DIR})
moxie_add_test(tidy-checks tidy ${MOXIE_SCRIPTS}/checks_test.sh ${CMAKE_SOURCE_DIR})
if(NOT MOXIE_SANITIZE)  # sanitizers add symbols of their own
  moxie_add_test(tidy-weak-symbols tidy ${MOXIE_SCRIPTS}/weak_symbols.sh ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR})
endif()

# Comparisons with other implementations: $MOXIE_ORACLE_PYTHON has their packages; what is absent is skipped by name.
foreach(check convert goldens greedy hub importance matrix measuring mlx perplexity profile python_api python_compat quantized replay safetensors server_anthropic server_openai synthetic templates tokenizers)
  moxie_add_test(oracle-${check} oracle ${CMAKE_SOURCE_DIR}/tests/oracle/run.sh ${check}_test.py)
  set_tests_properties(oracle-${check} PROPERTIES ENVIRONMENT "MOXIE_PROGRAM=$<TARGET_FILE:moxie_program>" TIMEOUT 1800)
endforeach()
moxie_add_test(tidy-documents tidy ${MOXIE_SCRIPTS}/docs_test.sh ${CMAKE_SOURCE_DIR} $<TARGET_FILE:moxie_program>)
if(MOXIE_CURL)  # a server of the tests' own stands in for the hub
  foreach(check network pull remote run)
    moxie_add_test(hub-${check} golden ${MOXIE_SCRIPTS}/with_python.sh ${CMAKE_SOURCE_DIR}/tests/hub/${check}_test.py)
    set_tests_properties(hub-${check} PROPERTIES ENVIRONMENT "MOXIE_PROGRAM=$<TARGET_FILE:moxie_program>")
  endforeach()
endif()
if(NOT MOXIE_SANITIZE)  # the interpreter is built without
  set(MOXIE_PYTHON_DEFINITIONS MOXIE_LIBRARY=$<TARGET_FILE:moxie>)
  foreach(name MOXIE_IO_URING MOXIE_CURL MOXIE_DIRECT_IO)
    list(APPEND MOXIE_PYTHON_DEFINITIONS ${name}=${${name}})
  endforeach()
endif()
moxie_add_test(python-package slow ${CMAKE_SOURCE_DIR}/tests/python/run.sh ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/python-test
               ${MOXIE_PYTHON_DEFINITIONS})
set_tests_properties(python-package PROPERTIES ENVIRONMENT "MOXIE_PROGRAM=$<TARGET_FILE:moxie_program>")
moxie_add_test(plan-replicas golden ${MOXIE_SCRIPTS}/with_python.sh ${MOXIE_SCRIPTS}/plan_replicas.py $<TARGET_FILE:moxie_program>)
foreach(check access endpoints equality models robustness streaming)
  moxie_add_test(server-${check} server ${MOXIE_SCRIPTS}/with_python.sh ${CMAKE_SOURCE_DIR}/tests/server/run.py
                 $<TARGET_FILE:moxie_program> ${check}_test.py)
endforeach()
if(NOT MOXIE_SANITIZE)  # the consumer is built without, and memory is another there
  moxie_add_test(memory-promise golden ${MOXIE_SCRIPTS}/with_python.sh ${MOXIE_SCRIPTS}/memory_promise.py $<TARGET_FILE:moxie_program>)
  moxie_add_test(install golden ${MOXIE_SCRIPTS}/install_test.sh ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR}
                 ${CMAKE_SOURCE_DIR}/tests/data/models/stories260k-moe8)
endif()
