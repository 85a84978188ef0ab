// Options are every bound and every timeout of a runtime: unit in the name, default here, reason
// beside it.
//
// Owner:  its holder; a plain value. The Runtime copies it once.
// Thread: any, as for an int.
// Bound:  its fields are the bounds. docs/limits.md lists each with its reason; tools/docs.py keeps
//         that page true.
// Errors: Complete() names the field, its value and the accepted range.
#ifndef SLUICE_CORE_OS_OPTIONS_H_
#define SLUICE_CORE_OS_OPTIONS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "sluice/core/base/language.h"

namespace sluice {

class Os;

// Bytes that must be chargeable before a connection reads: the session's output for that input must
// find memory (a read is 32 KiB, and buffers take a little more than their bytes).
inline constexpr int64_t kReadHeadroomBytes = 64 * 1024;

// How an acceptor treats a new peer while max_connections are open.
enum class AtLimit : uint8_t {
  kRefuse,     // Accept and close at once: the peer learns it now.
  kWait,       // Leave the peer in the kernel's backlog until a connection ends.
  kEvictIdle,  // End the connection that has been silent longest (to within 16 ms).
};

// How a worker treats a cycle of actors that are parked on each other's full mailboxes.
enum class OnWaitCycle : uint8_t {
  kDrop,    // Drop the waiting message of the last actor to park; counted as dropped(deadlock).
  kReport,  // Log the cycle, and leave it as it is.
  kFail,    // Drop that message, and fail the last actor to park.
};

struct Options {
  // Threads. 0: as many as this process has processors.
  int workers = 0;
  // Most actors alive at once, on all workers; a session is an actor. A slot is 128 bytes; a name,
  // a parent or an end takes kActorExtraBytes more (core/slot/actor_extra.h).
  uint32_t actors_max = 262'144;
  // User messages that may wait for one actor, unless its spawn sets another number.
  uint32_t mailbox_messages_max = 256;
  // User messages on their way from one worker to another. 128 bytes each, in each direction of
  // each pair.
  uint32_t lane_messages_max = 1'024;
  // Messages that may wait in the outbox of one parked actor; past it Send answers overloaded.
  uint32_t outbox_messages_max = 1'024;
  // Open questions of one actor; a late answer keeps its place until it comes.
  uint32_t asks_max = 1'024;
  // Open answers of one connection (AskPipelined); past it nothing more is read.
  uint32_t answers_max = 128;
  uint32_t monitors_max = 262'144;  // Monitors of one actor: as many as there are actors.
  uint32_t timers_max = 1'024;      // Timers of one actor.
  // Tasks of one actor that its messages began (`Task<R> On(Q)`), unless its spawn sets another
  // number; past it the actor takes no message until one has ended. As many as may wait in its
  // mailbox, and a quarter of asks_max and timers_max: so such tasks may each have four questions
  // and waits open before the first is refused.
  uint32_t tasks_max = 256;
  uint32_t names_max = 65'536;
  // Threads for RunBlocking, started when first needed. Blocking calls mostly wait for a disk or a
  // server. Four threads keep a disk busy; a program with more to wait for sets more.
  int blocking_threads_max = 4;
  // Calls of one worker's actors that may wait for such a thread; past it their callers park. As
  // many as a mailbox holds.
  uint32_t blocking_calls_max = 256;

  // Bytes for envelopes, messages and connection buffers. 0: a quarter of the machine's memory, at
  // most 1 GiB. At least MemoryBytesMin().
  int64_t memory_bytes_max = 0;

  // Memory may stay spent for this time. After that, among the connections with a peer that took
  // and sent nothing in that time, the one that holds most is ended, and every 100 ms twice as many
  // as before. Meanwhile peers that read are served. A peer may have sent an unfinished frame, of
  // which the rest cannot be read as memory is spent: its connection qualifies only after three
  // times this time. inf: no connection is ended.
  absl::Duration shed_after = absl::Seconds(1);

  // How long an ended actor's waiting messages may take to leave, and how long a closing socket may
  // be read to its end.
  absl::Duration linger_timeout = absl::Seconds(5);
  // How long a drain may take. After that the rest is dropped, and counted.
  absl::Duration drain_timeout = absl::Seconds(5);
  // An actor that is parked for this time probes for a cycle of waits.
  absl::Duration probe_after = absl::Milliseconds(100);
  // For such a cycle: it ends by itself only when one of its actors ends.
  OnWaitCycle on_wait_cycle = OnWaitCycle::kDrop;
  // A handler that runs longer is logged: all other actors on its worker waited.
  absl::Duration slow_handler = absl::Milliseconds(10);

  // Sockets. 0 connections: min(65,536, descriptors - 64), or half the descriptors if those are
  // more.
  int64_t max_connections = 0;
  AtLimit at_limit = AtLimit::kRefuse;
  // Descriptors of one connection: 2 if each connection opens another one (a relay). Counts for the
  // default of max_connections and for the memory ceiling.
  int sockets_per_connection = 1;
  int backlog = 4'096;
  // Accepts in a second on each address, so that a storm of new peers leaves time for the existing
  // ones; more wait in the backlog. 0: no limit. accepts_burst_max: how many may come at once after
  // a quiet time; 0: a tenth of a second's, at least 1.
  static constexpr int64_t kAcceptRateMax = 1'000'000;
  int64_t accepts_per_second_max = 0;
  int64_t accepts_burst_max = 0;
  // Ends a connection after this time without a byte received or sent. A peer is not silent while
  // its bytes lie unread because its session is parked or memory is spent; it is silent while its
  // session has paused reading. A peer that acknowledges earlier output is not silent either. This
  // is checked when the time is over, so a peer that takes nothing, and has a kernel that only
  // answers probes, may have the time twice. TCP opens a window that was full only when a good part
  // of it is free (RFC 9293, 3.8.6.2.2: at least a segment or half the buffer). So a peer that
  // reads 1 KiB a second may look silent for a minute: this limit, and write_stalled_timeout, must
  // be longer than that.
  absl::Duration idle_timeout = absl::InfiniteDuration();
  absl::Duration lifetime_timeout = absl::InfiniteDuration();  // Since accept.
  // Half-closed: one side has ended, and nothing was received or sent for this time.
  absl::Duration half_closed_timeout = absl::Minutes(5);
  // The peer took no byte of the waiting output for this time.
  absl::Duration write_stalled_timeout = absl::Seconds(60);
  // Since this side closed, whatever progress the peer makes: a byte now and then would hold the
  // connection for ever, and no session is left to end it.
  absl::Duration close_timeout = absl::Minutes(5);
  // Dead peers: probes after 10 s of silence, then each 5 s, 3 of them. In whole seconds, up to
  // 32,767 s; an idle of inf: no probes.
  absl::Duration keepalive_idle = absl::Seconds(10);
  absl::Duration keepalive_interval = absl::Seconds(5);
  int keepalive_probes = 3;
  // The peer gave no sign of life for this time, though bytes or probes wait for its answer. A peer
  // that answers, and only reads late, slowly or not at all, is never ended by this. A link that
  // recovers within this time survives: for an end, what the kernel sends again after the time must
  // stay unanswered, too. inf: not checked; the kernel reports a dead peer after some 15 minutes.
  absl::Duration unacknowledged_timeout = absl::Seconds(25);
  // Output that waits in user memory for one connection: reading stops at high, resumes at low, and
  // Write answers full past max.
  int64_t output_bytes_high = 64 * 1024;
  int64_t output_bytes_low = 16 * 1024;
  int64_t output_bytes_max = 1024 * 1024;
  // Kept input that a session did not consume: one read (32 KiB) and one frame.
  int64_t input_bytes_max = 64 * 1024;
  // Unsent bytes that the kernel takes for one socket (TCP_NOTSENT_LOWAT).
  int notsent_bytes_max = 128 * 1024;

  // File mode of a listening UNIX socket, such as 0660: a user that may write to the file may
  // connect. 0: 0777 less the process's umask.
  int unix_file_mode = 0;

  // Addresses from --listen=; empty: the program's own. A program with several listeners names
  // them, here and in its calls of Listen: "http=127.0.0.1:80,admin=unix:/run/admin".
  std::string listen;
  // Level of the process's log, from the Runtime's constructor on; empty: unchanged (info, unless
  // set).
  std::string log_level;

  // Reads the common flags (--listen, which may be given more than once, --workers,
  // --max_connections, --at_limit, --accept_rate, --memory, --unix_mode, --log_level, and each
  // time-out above by its name) and the program's own Abseil flags. A bad flag, or an argument that
  // is no flag, prints one line on stderr and ends the process with code 1; --help, -h and
  // --version print on stdout and end it with 0.
  static Options FromFlags(int argc, char** argv);

  // The least memory_bytes_max with which a server works. A sixteenth of it, which is free whenever
  // reading goes on, must let every worker read; and one connection must be able to hold its
  // maximum. Requires: workers is not 0.
  int64_t MemoryBytesMin() const;

  // Sets fields that are 0 from the machine, and reports a field that is out of range. Raises the
  // process's soft limit of descriptors to the hard one if max_connections need more than the soft
  // one.
  absl::Status Complete(Os& os);
  // After Complete: descriptors for max_connections and everything else, as the system counts them.
  int64_t DescriptorsWanted() const;
  // After Complete: the connections that can have descriptors at once. Less than max_connections
  // only if the hard limit is too low.
  int64_t ConnectionsWithDescriptors(Os& os) const;
};

}  // namespace sluice

#endif  // SLUICE_CORE_OS_OPTIONS_H_
