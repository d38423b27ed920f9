//! Every bound that a peer, a disk or an operator can press against: its name, its unit, its reason.
//!
//! What an operator may move is a key of `[limits]` (`config/limits.rs`), with its default there. Units
//! stand in the names; where a number was a guess, it says so. Relations are asserted at compile time.

// Accepting and the tick (`docs/architecture.md`, "The tick").
/// Connections that the kernel may keep for us between two accepts. The kernel caps it
/// (`net.core.somaxconn`, usually 4096): a reconnect storm must not meet refusals.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Connections accepted in one tick: a storm must not keep established sessions waiting.
pub const ACCEPTS_PER_TICK_MAX: usize = 16;
/// How long accepting pauses when descriptors have run out. The kernel's backlog keeps who waits.
pub const ACCEPT_PAUSE_MS: u64 = 100;
/// Reads of one connection in one tick: with [`READ_CHUNK_BYTES`] its share.
pub const READS_PER_CONN_MAX: usize = 1;
/// Connections read in one tick before anything is written. Fewer where what they say fills the outboxes.
pub const READS_PER_TICK_MAX: usize = 256;
/// Connections that wait to be written to, past which nothing more is read: each write costs a call to the system.
pub const TICK_WRITES_MAX: usize = 512;
/// Microseconds of a tick past which nothing more is read: what has been said is answered first.
pub const TICK_READ_US: u64 = 2_000;
/// Microseconds of a tick in which newcomers are let in, shake hands and log in, one step at least: a reconnect storm
/// must not starve those who are in.
pub const TICK_NEWCOMERS_US: u64 = 2_000;
/// The same while bound connections have something to say.
pub const TICK_NEWCOMERS_BUSY_US: u64 = 500;
/// Microseconds of a tick past which nobody more is written to or let go: who is left over comes first in the next.
pub const TICK_US: u64 = 4_000;
/// Microseconds for either that each tick has, however late it is.
pub const TICK_AT_LEAST_US: u64 = 1_000;
/// Bytes of one read from a socket: a whole TLS record (RFC 8446 §5.2: 16,384 bytes, 256 more and a header).
pub const READ_CHUNK_BYTES: usize = 16 * 1024 + 256 + 5;
/// Bytes that stanzas may append to outboxes in one tick, and at most a quarter of what one outbox holds.
pub const TICK_BYTES_MAX: usize = 256 * 1024;
/// Connections among which a tick's bytes are shared out: more of them have the same share each, and fewer come to
/// their turn in a tick. A share is then room for a large answer or some dozens of messages.
pub const VISITS_PER_TICK_MAX: usize = 32;
/// Bytes written to one connection in one tick; what is left goes in the next, behind the others. More
/// than stanzas may append meanwhile: who reads fast enough is never overtaken.
pub const WRITE_BUDGET_BYTES: usize = 2 * TICK_BYTES_MAX;
/// Sealed bytes that wait for what is sealed next: a handshake's last words for the features.
pub const PENDING_JOINED_BYTES_MAX: usize = 4 * 1024;
/// Plain bytes sealed and written at once.
pub const WRITE_CHUNK_BYTES: usize = 64 * 1024;
/// Readiness events taken at once.
pub const EVENTS_PER_TICK_MAX: usize = 1024;
/// How long streams get to take `system-shutdown` in before the process ends anyway.
pub const SHUTDOWN_MS: u64 = 5_000;
/// How long after a crowd has come or left memory is given back; and as long again if something goes on then.
/// A guess: what comes back in a moment is asked for anew at the price of a few page faults.
pub const CALM_MS: u64 = 500;
/// The longest that it is put off because single ones come and go.
pub const CALM_WAIT_MS_MAX: u64 = 10_000;
/// Numbers that the kernel's table of descriptors has room for from the start: 8 KB of its memory.
pub const DESCRIPTORS_AT_START: usize = 1024;
/// Past so many the table grows when it must: it takes 8 bytes for each.
pub const DESCRIPTORS_MADE_MAX: usize = 128 * 1024;
/// Descriptors that are not for connections: the standard streams, epoll, waker and signals (10), listeners,
/// store and lock, control socket and its callers, certificates while they load.
pub const DESCRIPTORS_RESERVED: u64 = 40;
/// How much the hashing thread gives way to the loop (nice(2)). Not the storage thread: it would give way to every other
/// process of a busy machine as well, and logins wait for it.
pub const HASH_NICENESS: i32 = 5;
/// Tasks handed to the thread and not yet back: one in work, one to follow without a pause.
pub const HASHES_IN_FLIGHT_MAX: usize = 2;
/// Addresses whose pace is remembered. Past it the one that has waited longest is forgotten in favour
/// of a newcomer: whoever owns thousands of addresses is held by the count in all.
pub const PACED_ADDRESSES_MAX: usize = 4096;
/// Room for actions that is kept when memory is given back.
pub const ACTIONS_KEPT_MAX: usize = 64;
/// What an allocation costs beside its bytes, as one part of so many: headers, and pages used in part. The least of it:
/// where much comes and goes, `tests/soak.py` prints two to four times as much (`soak/allocator`), code that was read in
/// again included. What this leaves out the budget takes from what the system counts, fifty times a second.
pub const ALLOCATOR_SHARE: usize = 8;
/// A deadline among the others, about: its entry in the sorted set, which is at least half full.
pub const TIMER_BYTES: usize = 48;
/// A frame that waits for rows, without the rows: its places in the lists.
pub const WAITING_BYTES: usize = 192;
/// What outboxes may take however short memory is: without it nobody could be answered.
pub const OUTBOX_ROOM_BYTES_MIN: usize = 1024 * 1024;
/// The same for unfinished stanzas: a record of a few dozen.
pub const PARTIAL_ROOM_BYTES_MIN: usize = 256 * 1024;
/// What the system counts beyond what was counted here is believed to shrink by one part of so many between two looks.
pub const UNSEEN_FADES_SHARE: usize = 32;
/// Sessions that give way at once because memory is full, as one part of so many; more when that was looked at.
pub const SHED_SESSIONS_SHARE: usize = 16;
/// Who holds less is not ended to make room: it would not help.
pub const SHED_BYTES_MIN: usize = 16 * 1024;
/// The same for sessions while memory is tight and somebody waits: several times what a thousand contacts take.
pub const SHED_SESSION_BYTES_MIN: usize = 128 * 1024;
/// Connections that give way in one tick.
pub const SHED_PER_TICK_MAX: usize = 64;
/// How long a connection may take to log in where somebody else waits for its place, and memory may be tight while
/// somebody waits for some. Ten times a slow login.
pub const GIVE_WAY_MS: u64 = 5_000;
/// Stack of the loop that a login may have used, overwritten behind it; without optimisation it is this much.
pub const WIPED_LOOP_STACK_BYTES: usize = 48 * 1024;
/// The same of the hashing thread, whose stack is small.
pub const WIPED_HASH_STACK_BYTES: usize = 16 * 1024;
/// How often it is said that memory is short.
pub const STRAIN_SAID_EVERY_MS: u64 = 60_000;
/// How often the system is asked what is resident, while something goes on.
pub const RESIDENT_EVERY_MS: u64 = 20;
/// How often memory is given back because what is resident comes near the bound; and while it is at it.
pub const TRIM_EVERY_MS: u64 = 1_000;
/// See above.
pub const TRIM_FULL_EVERY_MS: u64 = 250;
/// Buffers kept for reuse. Enough for the connections that are written to in one tick of a busy
/// server; the guess costs at most this times [`POOLED_BUFFER_BYTES_MAX`].
pub const POOLED_BUFFERS_MAX: usize = 64;
/// What bounds of the whole process are brought down by once they are passed: one part of so many, so that
/// looking for the largest holder is seldom.
pub const GIVEN_WAY_SHARE: usize = 16;
/// Rest of a stanza that is still sent to a reader who gives way to others.
pub const LAST_BYTES_MAX: usize = 4 * 1024;
/// A buffer larger than this is given back to the system instead of the pool.
pub const POOLED_BUFFER_BYTES_MAX: usize = 8 * 1024;

// Streams and sessions.
/// How long a closing connection may take: to read our last words, to say its own.
pub const LINGER_MS: u64 = 3_000;
/// How long a peer that has not ended its stream by then may take to answer our `close_notify` and FIN.
pub const FIN_WAIT_MS: u64 = 1_000;
/// How long an answer waits for the disk before its stream ends because its fate is unknown.
pub const HELD_TIMEOUT_MS: u64 = 30_000;
/// Sets of keys that wait for their account's row; one that finds no place waits for the next login.
pub const FILL_INS_MAX: usize = 64;
/// Largest `xml:lang` that is remembered: long enough for every tag of BCP 47 in use, and a number of ours.
pub const LANG_BYTES_MAX: usize = 64;
/// Most first-level elements between two flips or before a session is bound. The longest login that anybody needs,
/// with every retry that the RFC recommends, takes half as many; whoever sends more only wants answers.
pub const NEGOTIATION_ELEMENTS_MAX: u8 = 100;
/// Elements of one stanza before login; everything that is needed there has fewer.
pub const ELEMENTS_BEFORE_LOGIN_MAX: u32 = 32;
/// Answers of one connection that wait for the disk.
pub const HELD_ANSWERS_MAX: usize = 64;
/// Targets of one session's directed presence.
pub const DIRECTED_PRESENCE_MAX: usize = 256;
/// Bytes of their addresses. Rooms have short ones; without it a hundred sessions would hold tens of megabytes.
pub const DIRECTED_PRESENCE_BYTES_MAX: usize = 32 * 1024;
/// The grain of time of a session's rates.
pub const SLOT_MS: u64 = 100;
/// How many seconds of its rate a session may send at once.
pub const RATE_BURST_S: u64 = 4;
/// The longest that a session which sent too much is not read.
pub const RATE_WAIT_SLOTS_MAX: u32 = 100;
/// Prices, in stanzas: a run that writes, that waits for a row, that waits for a hash, that is answered with an
/// error. Guesses, by what each costs the loop and the disk beside a stanza that is passed on.
pub const WORK_WRITE: u32 = 50;
/// See [`WORK_WRITE`].
pub const WORK_FETCH: u32 = 10;
/// See [`WORK_WRITE`].
pub const WORK_HASH: u32 = 1_000;
/// See [`WORK_WRITE`].
pub const WORK_ERROR: u32 = 20;
/// Price of an address that the session has not written to lately: 80 at once, then 20 a second, where nothing else
/// is configured. Nobody knows more people that well.
pub const WORK_RECIPIENT: u32 = 500;
/// Rows that a run reads, contacts that it goes through, and bytes that it reads of rows or appends to outboxes, for the
/// price of one stanza more. Guesses, by what each costs the loop beside a stanza that is passed on.
pub const ROWS_PER_WORK: u64 = 4;
/// See [`ROWS_PER_WORK`].
pub const CONTACTS_PER_WORK: u64 = 64;
/// See [`ROWS_PER_WORK`].
pub const BYTES_PER_WORK: u64 = 4_096;
/// How long an address counts as written to, at least.
pub const RECIPIENT_SLOTS: u32 = 600;
/// Bits of each of the two sets that know it: 32 KiB.
pub const RECIPIENT_BITS: usize = 256 * 1024;
/// Accounts, and addresses, whose failed logins are remembered.
pub const THROTTLE_ENTRIES_MAX: usize = 4096;
/// Attempts to bind a resource on one stream.
pub const BIND_ATTEMPTS_MAX: u8 = 5;

// XML (RFC 6120 §11, §13.12).
/// Largest tag, from `<` to `>`. Guessed: a hundred times what clients send.
pub const TAG_BYTES_MAX: u32 = 8 * 1024;
/// Deepest nesting, the top element being 1. XHTML-IM and nested forwarded messages stay below 20.
pub const DEPTH_MAX: u16 = 64;
/// Most attributes on one tag, declarations included.
pub const ATTRIBUTES_MAX: u16 = 64;
/// Most namespace declarations in scope at once inside one frame.
pub const NAMESPACES_MAX: u16 = 32;
/// Most elements in one frame. Guessed: a roster of some thousand contacts, and far from hurting.
pub const ELEMENTS_MAX: u32 = 10_000;
/// Longest XML declaration. The usual one has 21 to 38 bytes.
pub const DECLARATION_BYTES_MAX: usize = 256;
/// Longest reference. `&#x10FFFF;` has ten bytes; the rest is room for zeros in front. An unfinished reference is
/// all that is ever read twice.
pub const REFERENCE_BYTES_MAX: usize = 32;
/// Children of one frame that are recorded; later ones are only counted. Nothing that the server peeks at has
/// more than a handful of payloads.
pub const CHILDREN_KEPT_MAX: usize = 32;
/// Deepest nesting of what the server writes itself.
pub const WRITER_DEPTH_MAX: usize = 16;

// Addresses (RFC 7622).
/// Largest part of an address, in octets, after preparation (RFC 7622 §3.2–3.4).
pub const JID_PART_BYTES_MAX: usize = 1023;
/// Largest part that preparation looks at. It can shrink a part, but by no more than this leaves room
/// for; without a bound a peer could make us normalise a whole stanza.
pub const JID_PART_INPUT_BYTES_MAX: usize = 3 * JID_PART_BYTES_MAX;
/// Largest prepared address: three parts and two separators.
pub const JID_BYTES_MAX: usize = 3 * JID_PART_BYTES_MAX + 2;
/// Largest label in the form that DNS carries (RFC 1034 §3.1).
pub const LABEL_BYTES_MAX: usize = 63;
/// Largest label that is looked at: the most that a valid one could be before it is mapped, and then some.
/// Turning a label into its A-form takes the square of its length.
pub const LABEL_INPUT_BYTES_MAX: usize = 8 * LABEL_BYTES_MAX;
/// Largest name in the form that DNS carries, without the final dot.
pub const NAME_BYTES_MAX: usize = 253;
/// Longest password, in octets, that is looked at. A guess: as long as any part of an address.
pub const PASSWORD_BYTES_MAX: usize = JID_PART_BYTES_MAX;
/// Code points that need their context judged, in one part: each costs a walk over the part.
pub const CONTEXTUAL_MAX: usize = 64;
/// RFC 8264 §7: rules are applied again at most three times.
pub const REAPPLIED_MAX: usize = 3;

// Login.
/// Largest decoded message of a mechanism: every name, nonce and binding in it at its longest that a
/// client could mean, and well below the stanza that carries it.
pub const SASL_MESSAGE_BYTES_MAX: usize = 4096;
/// PBKDF2 rounds that no stored set may go below (RFC 5802 §5.1, RFC 7677 §4).
pub const ITERATIONS_MIN: u32 = 4_096;
/// PBKDF2 rounds that no stored set may exceed: a damaged row must not hold up the hashing thread.
pub const ITERATIONS_MAX: u32 = 5_000_000;
/// Longest nonce of a client. A guess: four times what any sends.
pub const NONCE_BYTES_MAX: usize = 256;
/// Longest salt that is kept.
pub const SALT_BYTES_MAX: usize = 64;
/// Longest key: SHA-256's.
pub const KEY_BYTES_MAX: usize = 32;
/// Addresses of a certificate that are looked at.
pub const ADDRESSES_MAX: usize = 32;
/// Characters of trace information (RFC 4505 §2).
pub const TRACE_CHARS_MAX: usize = 255;
/// Delay after the first failure that counts; doubled with each further one.
pub const DELAY_FIRST_MS: u64 = 250;
/// Failures that are counted; more would only take longer to be forgotten.
pub const FAILURES_MAX: u32 = 20;

// TLS.
/// Ciphertext kept while handshaking: a message may span records, and the library takes 64 KiB of one.
pub const HANDSHAKE_SAVED_BYTES_MAX: usize = 64 * 1024;
/// Records without data (key updates, empty ones, warnings) that a peer may send unpaid. Clients renew
/// keys after gigabytes or hours; each renewal costs us microseconds, so a few hundred are harmless.
pub const IDLE_RECORDS_MAX: u32 = 256;
/// Bytes of data that pay for one record without.
pub const IDLE_RECORD_PRICE_BYTES: u32 = 1024;
/// Certificates in a client's chain, the leaf included. Real ones have two or three.
pub const CHAIN_DEPTH_MAX: usize = 8;
/// Bytes of DER in a client's chain. The TLS library keeps them as long as the connection lives.
pub const CHAIN_BYTES_MAX: usize = 32 * 1024;
/// Alternative names looked at in a client's certificate.
pub const CLIENT_NAMES_MAX: usize = 64;
/// Bytes of a certificate or list file. A chain is a few KiB; a revocation list can be large.
pub const PEM_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Certificates in a configured chain, leaf included.
pub const SERVER_CHAIN_DEPTH_MAX: usize = 16;
/// Names of one server certificate that are looked at.
pub const SERVER_NAMES_MAX: usize = 1000;
/// RFC 9325 §4.5.
pub const RSA_BITS_MIN: usize = 2048;

// Storage.
/// Most bytes of writes that are held in memory until they are on disk. A guess: half a second of a
/// slow memory card.
pub const OVERLAY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most ranges that travel to the storage thread as one batch: one read transaction stays short, and where there is one
/// processor only, the loop has it back soon.
pub const FETCH_BATCH_MAX: usize = 64;
/// Frames that go on at once when their rows are there: a batch of logins is no reason to keep sessions waiting.
pub const RESUMED_MAX: usize = 8;
/// Above this many bytes of rows held for parked frames, frames are fetched for one at a time.
pub const FETCHED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most rows that one fetch brings; a longer read goes on where it stopped.
pub const FETCH_ROWS_MAX: u32 = 1024;
/// A fetch, all its ranges together, stops behind the row that reaches this many bytes, so that no
/// read can fill memory.
pub const FETCH_BYTES_MAX: usize = 1024 * 1024;
/// The first wait before a failed commit is tried again.
pub const RETRY_MS_MIN: u64 = 100;
/// The longest wait before a failed commit is tried again.
pub const RETRY_MS_MAX: u64 = 30_000;
/// Default size of the page cache. redb's own default is 1 GiB; the system has every page in its own cache, and what is
/// here counts towards the server's memory also when nobody is there.
pub const DISK_CACHE_BYTES: usize = 256 * 1024;
/// Default space that a commit leaves free on the disk beside twice its own size: a full disk is
/// noticed while the database can still write. A guess.
pub const DISK_RESERVE_BYTES: u64 = 4 * 1024 * 1024;
/// Rounds of compaction; redb asks to be called until nothing moves.
pub const COMPACT_ROUNDS_MAX: u32 = 16;
/// Requests that may be out: a fetch and a commit, what a backup asks, memory to give back, and room for one odd sender.
pub const REQUESTS_MAX: usize = 7;
/// Rows that a backup reads at a time: what somebody else's request waits for. A fraction of a millisecond.
pub const BACKUP_CHUNK_ROWS: u32 = 256;
/// Changes that wait for the file of a backup; past it the backup is given up, since the server never waits for it.
pub const BACKUP_BEHIND_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The same as one part of so many of `memory_max`, where that is less.
pub const BACKUP_BEHIND_SHARE: usize = 16;
/// Rows between two words about how far a backup is: some a second.
pub const BACKUP_ROWS_PER_WORD: u64 = 10_000;
/// Bytes after which what a backup has written is sent to the disk. A guess.
pub const BACKUP_SYNC_BYTES: usize = 8 * 1024 * 1024;
/// Tries to write the last generation before the process ends.
pub const STOP_TRIES_MAX: u32 = 3;
/// Most accounts that one page of a list holds.
pub const ACCOUNT_PAGE_MAX: u32 = 256;

// Administration.
/// Longest line in either direction, its end included.
pub const CONTROL_LINE_BYTES_MAX: usize = 64 * 1024;
/// How long a request may take to arrive, and its answer to be taken.
pub const CONTROL_TIMEOUT_S: u64 = 10;
/// Control connections at the same time.
pub const CONTROL_CONNECTIONS_MAX: usize = 8;
/// Names of hosted domains told where one was asked for that is not.
pub const HOSTED_SHOWN_MAX: usize = 8;
/// What the addresses of one page may take of the line, escapes included.
pub const PAGE_BYTES_MAX: usize = 48 * 1024;
/// How long a backup takes before a terminal is told how far it is, and how long between two words.
pub const PROGRESS_AFTER_MS: u64 = 2_000;
/// See [`PROGRESS_AFTER_MS`].
pub const PROGRESS_EVERY_MS: u64 = 500;
/// How long a server that makes a backup may say nothing: its disk may be slow.
pub const BACKUP_SILENCE_S: u64 = 600;
/// How long an answer may take: a change waits for the disk, which may be a slow memory card.
pub const CALL_TIMEOUT_S: u64 = 60;

// Moving accounts (`port/`).
/// Most bytes that one account may have in a file; memory of an import is a few times this. A guess: a vCard with a large
/// picture, a thousand long messages.
pub const PERSON_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Longest tag in a file: roster names and block lists are far below.
pub const PORT_TAG_BYTES_MAX: usize = 64 * 1024;
/// Levels that a file has around user data: server-data, host, user, offline-messages.
pub const PORT_LEVELS_MAX: u16 = 4;
/// Files that include each other and are open at once: the format itself has three.
pub const INCLUDES_OPEN_MAX: usize = 8;
/// Persons that are written with one commit: what a crash makes an import do again.
pub const PERSONS_PER_COMMIT_MAX: usize = 64;
/// Bytes of persons after which a commit is due.
pub const COMMIT_BYTES_MAX: usize = 1024 * 1024;
/// Nesting of a Lua table; Prosody itself writes no more.
pub const LUA_DEPTH_MAX: usize = 127;
/// Values in one Lua file: ten of them take less memory than a kibibyte.
pub const LUA_VALUES_MAX: usize = 1_000_000;
/// Largest file of Prosody's that is read.
pub const PROSODY_FILE_BYTES_MAX: u64 = PERSON_BYTES_MAX;
/// Depth of a table in SQLite: it has far fewer levels with any number of rows.
pub const SQLITE_PAGES_DEEP_MAX: u32 = 40;
/// Largest store of which every page is looked at when the server starts: a second on a memory card of 2010.
pub const STORE_VERIFIED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How deep a damaged store's tree is followed: a thousand times what it can hold.
pub const SALVAGE_DEPTH_MAX: usize = 16;
/// Largest page of a damaged store that is read. Rows are far below it.
pub const SALVAGE_PAGE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Largest row of SQLite's that is read.
pub const SQLITE_RECORD_BYTES_MAX: usize = 32 * 1024 * 1024;

const _: () = assert!(WRITE_CHUNK_BYTES <= WRITE_BUDGET_BYTES);
const _: () = assert!(TICK_BYTES_MAX <= WRITE_BUDGET_BYTES);
const _: () = assert!(TICK_NEWCOMERS_BUSY_US <= TICK_NEWCOMERS_US);
const _: () = assert!(RECIPIENT_BITS.is_multiple_of(64));
const _: () = assert!(ITERATIONS_MIN <= ITERATIONS_MAX);
const _: () = assert!(RETRY_MS_MIN <= RETRY_MS_MAX);
const _: () = assert!(FETCH_BYTES_MAX <= FETCHED_BYTES_MAX);
const _: () = assert!(BACKUP_CHUNK_ROWS <= FETCH_ROWS_MAX);
const _: () = assert!(PAGE_BYTES_MAX < CONTROL_LINE_BYTES_MAX);
const _: () = assert!(FIN_WAIT_MS <= LINGER_MS);
const _: () = assert!(CALM_MS <= CALM_WAIT_MS_MAX);
const _: () = assert!(LINGER_MS < SHUTDOWN_MS);

/// Removals from a roster that are remembered for clients that ask what has changed (RFC 6121 §2.6).
pub const ROSTER_REMOVALS_MAX: u32 = 256;
/// A roster may take an outbox's bytes divided by this, or it could not be fetched.
pub const ROSTER_OUTBOX_SHARE: u32 = 4;
/// Groups that one contact may be in.
pub const ROSTER_GROUPS_MAX: usize = 32;
/// Bytes of a contact's name, and of a group's.
pub const ROSTER_NAME_BYTES_MAX: usize = 1_023;
/// Bytes of a subscription request that are kept for somebody who has not answered. All that one account may have
/// leave at once when it comes, together with messages that have waited: that must fit an outbox.
pub const SUBSCRIPTION_REQUEST_BYTES_MAX: usize = 2_048;

/// Bytes of what one account remembers of whom it sees elsewhere, for the day that their component goes: some two
/// thousand contacts and occupants of rooms. What they are told then must fit an outbox.
pub const SEEN_BYTES_MAX: usize = 128 * 1024;
/// The same, of all accounts together.
pub const SEEN_TOTAL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest path of a Unix socket on Linux, without its end.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Bytes of a file with a component's secret that are read: more than anybody writes, and no way to fill memory with a
/// file named by mistake.
pub const SECRET_FILE_BYTES_MAX: u64 = 4_096;

/// Accounts whose last goodbye waits in memory to be written.
pub const LAST_KEPT_MAX: usize = 4_096;
/// Goodbyes that are written without waiting for more: as many as one commit takes in its stride. A guess.
pub const LAST_TOGETHER_MAX: usize = 64;
/// Bytes of the status of a goodbye that is kept; a longer one is left out.
pub const LAST_STATUS_BYTES_MAX: usize = 1_024;
/// How long goodbyes wait to be written together.
pub const LAST_WRITE_MS: u64 = 60_000;

/// Accounts that one command of an admin may name.
pub const ADMIN_JIDS_MAX: usize = 100;
/// Addresses in one list for an admin.
pub const ADMIN_LIST_MAX: usize = 1_000;

/// Requests about an account that one stream may make before its login.
pub const REGISTRATION_REQUESTS_MAX: u8 = 10;
/// Addresses whose registrations of the last hour are remembered; past it nobody new may register.
pub const REGISTRATION_ADDRESSES_MAX: usize = 4_096;
