// How a client reaches a server: where, with which credentials, for how long, and what it retries.
//
// Plain values: copy them, change a field, pass them on. Thread-safe as values; the sleeper is
// called from the thread that makes the call.
#ifndef LOSSD_OPTIONS_H_
#define LOSSD_OPTIONS_H_

#include <functional>
#include <string>

#include "absl/time/time.h"

namespace lossd {

// No encryption by default. `tls` encrypts and checks the server; with certificate and key the
// server can check the client, too (mutual TLS). The files are PEM and are read once, when the
// connection is made.
struct Credentials {
  bool tls = false;
  std::string ca_file;  // who may have signed the server's certificate; empty: the system's list
  std::string certificate_file;  // the client's certificate chain; empty: none
  std::string key_file;          // its private key
  std::string
      server_name;  // name to expect in the server's certificate; empty: that of the endpoint
};

// What happens after UNAVAILABLE, the only status that is retried: computing has no side effect, so
// a retry is always safe. Each wait is drawn between half of the backoff and the whole of it, so
// that many clients do not come back at once, and is never shorter than the RetryInfo of the
// server. The defaults ride out a restart of the server of about 20 seconds.
struct RetryPolicy {
  int max_attempts = 10;  // the first one included; 1: no retry
  absl::Duration max_elapsed =
      absl::Seconds(60);  // no attempt starts later than this after the first
  absl::Duration initial_backoff = absl::Milliseconds(100);
  absl::Duration max_backoff = absl::Seconds(5);
  double backoff_multiplier = 2;
};

struct ClientOptions {
  std::string endpoint = "127.0.0.1:50051";  // host:port, or unix:/path
  Credentials credentials;
  // Of one call with all its retries; not of an Evaluation, which has its own.
  absl::Duration deadline = absl::Seconds(60);
  RetryPolicy retry;
  // Waits between attempts. Empty: absl::SleepFor. Tests put in one that returns at once.
  std::function<void(absl::Duration)> sleeper;
};

// A client without a server.
struct InProcessOptions {
  int threads = 0;                                     // threads that compute; 0: one a core
  absl::Duration deadline = absl::InfiniteDuration();  // of one call
};

}  // namespace lossd

#endif  // LOSSD_OPTIONS_H_
