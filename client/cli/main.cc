// lossctl: losses from the command line.
#include <malloc.h>

#include "command.h"

int main(int argc, char** argv) {
  // glibc gives freed message buffers back to the kernel and faults them in again: keeping them
  // took a local stream from 1.8 to 3.2 GB/s.
  mallopt(M_TRIM_THRESHOLD, 2'000'000'000);
  mallopt(M_TOP_PAD, 64 << 20);
  mallopt(M_MMAP_THRESHOLD, 32 << 20);

  CLI::App app("lossctl computes losses of .npy files, by a lossd server or in process");
  app.set_version_flag("--version", LOSSD_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 fine, 1 the call failed, 2 usage (flags, loss texts or files are wrong).");
  int exit_code = lossd::cli::kExitOk;
  lossd::cli::AddComputeCommand(&app, &exit_code);
  lossd::cli::AddEvaluateCommand(&app, &exit_code);
  lossd::cli::AddMergeCommand(&app, &exit_code);
  lossd::cli::AddListCommand(&app, &exit_code);
  lossd::cli::AddHealthCommand(&app, &exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? lossd::cli::kExitOk : lossd::cli::kExitUsage;
  }
  return exit_code;
}
