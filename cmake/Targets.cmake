# What every target of the project shares, and how a folder declares its library and its tests.

# Warnings are errors; no contraction: g++ would fuse a product and a sum by itself, and bits would differ.
add_library(lossd_options INTERFACE)
target_compile_options(lossd_options INTERFACE
  $<BUILD_INTERFACE:-Wall> $<BUILD_INTERFACE:-Wextra> $<BUILD_INTERFACE:-Werror>
  $<BUILD_INTERFACE:-ffp-contract=off>)
target_include_directories(lossd_options INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/lossd/core>)
if(LOSSD_SANITIZE)
  target_compile_options(lossd_options INTERFACE
    -fsanitize=${LOSSD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(lossd_options INTERFACE -fsanitize=${LOSSD_SANITIZE})
  if(LOSSD_SANITIZE MATCHES "thread")
    # With this macro protobuf's headers give map fields another layout than the packaged library was built with.
    # libstdc++ knows by its own one how shared_ptr has to look to the sanitizer.
    target_compile_options(lossd_options INTERFACE -U__SANITIZE_THREAD__ -D_GLIBCXX_TSAN=1)
  endif()
endif()

if(LOSSD_BUILD_FUZZERS)
  # The library reports its branches to libFuzzer; each fuzzer brings the driver (-fsanitize=fuzzer).
  target_compile_options(lossd_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Units that include Highway: AVX2 and up, and NEON. The other targets do not fuse MulAdd.
add_library(lossd_simd INTERFACE)
target_compile_definitions(lossd_simd INTERFACE
  $<BUILD_INTERFACE:HWY_BASELINE_TARGETS=\(HWY_ARCH_X86?HWY_AVX2:HWY_NEON\)>
  $<BUILD_INTERFACE:HWY_DISABLED_TARGETS=\(~\(HWY_AVX2|HWY_AVX3|HWY_NEON\)\)>)
# A sanitizer build checks the kernels too, but unoptimised vector code would make it useless.
target_compile_options(lossd_simd INTERFACE $<BUILD_INTERFACE:-O3>)
target_link_libraries(lossd_simd INTERFACE lossd_options hwy::hwy)

# One layer of the library: a static library of its own, so that a wrong include does not link.
function(lossd_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;PRIVATE_LIBS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC lossd_options ${ARG_LIBS} PRIVATE ${ARG_PRIVATE_LIBS})
  set_property(GLOBAL APPEND PROPERTY LOSSD_INSTALLED_TARGETS ${name})
endfunction()

# Sets VARIABLE=VALUE... for a CTest entry, and what every test of a sanitizer build needs.
function(lossd_test_environment name)
  set(environment ${ARGN})
  if(LOSSD_SANITIZE MATCHES "thread")
    list(APPEND environment
      TSAN_OPTIONS=ignore_noninstrumented_modules=1:suppressions=${PROJECT_SOURCE_DIR}/tests/sanitizers/tsan.supp)
  endif()
  if(LOSSD_SANITIZE MATCHES "address")
    list(APPEND environment
      LSAN_OPTIONS=print_suppressions=0:suppressions=${PROJECT_SOURCE_DIR}/tests/sanitizers/lsan.supp)
  endif()
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "${environment}")
endfunction()

# A GoogleTest binary, one CTest entry.
function(lossd_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  if(LOSSD_BUILD_TESTS)
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE ${ARG_LIBS} GTest::gmock GTest::gtest GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${name})
    lossd_test_environment(${name})
  endif()
endfunction()

# Runs a test of lossd_test once more, on the instruction set that every supported processor has.
function(lossd_test_on_baseline name)
  if(LOSSD_BUILD_TESTS)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
      set(target avx2)
    else()
      set(target neon)
    endif()
    add_test(NAME ${name}_${target} COMMAND ${name})
    lossd_test_environment(${name}_${target} LOSSD_TARGET=${target})
  endif()
endfunction()
