//! What each metric means, as `/metrics` says it; the README has the same names, and a test compares them.
use metrics::{describe_counter, describe_gauge, describe_histogram};

/// To the recorder that is in force.
pub fn describe() {
    COUNTERS.iter().for_each(|(name, help)| describe_counter!(*name, *help));
    GAUGES.iter().for_each(|(name, help)| describe_gauge!(*name, *help));
    describe_histogram!(super::FIRST_SOUND, FIRST_SOUND);
}

const COUNTERS: &[(&str, &str)] = &[
    ("loa_keys_held_twice_total", "Reports by which two nodes were seen to speak with one key"),
    ("loa_parent_changes_total", "Times that the other of two parents came to lead"),
    ("loa_packets_received_total", "Verified packets of sound and of logs"),
    ("loa_packets_sent_total", "Packets sent to listeners, one for each listener"),
    ("loa_packets_repaired_total", "Packets that came, or were given, again on request"),
    ("loa_packets_lost_total", "Packets that did not come in time"),
    ("loa_packets_rejected_total", "Packets refused, by reason"),
    ("loa_orders_accepted_total", "Orders taken in"),
    ("loa_orders_rejected_total", "Orders refused, by reason"),
    ("loa_frames_concealed_total", "Steps of 10 ms that were made up"),
    ("loa_handshakes_rejected_total", "Handshakes of children that did not become links"),
    ("loa_handshakes_retried_total", "Strangers sent back to prove their address first"),
    ("loa_links_cut_total", "Links cut by this node, by reason"),
    ("loa_violations_total", "Links closed because the other side broke the protocol"),
    ("loa_destinations_unreachable_total", "Packets that the kernel refused for one listener, by reason"),
    ("loa_packets_bunched_total", "Packets sent to listeners together with others in one send"),
    ("loa_bunches_refused_total", "Listeners and devices that take single packets only"),
    (
        "loa_sessions_cut_total",
        "Sessions of children ended or refused. peer.flood: far more than a child sends; protocol: a message that \
         breaks it; hello.node: another name than in its certificate; session.silent: no beat for 35 s; \
         session.replaced: a third session of one node; session.often: over 60 joins in two minutes; branch.full: \
         no more room; refused: its placement or area; goodbye: its own wish; node.stopping: this node's",
    ),
    (
        "loa_input_dropped_total",
        "What children said and nobody acted on. flood: beyond what one may send in a second; malformed: unreadable; \
         nack.track: repair of a track it does not listen to; nack.budget: repair beyond 40 % of the media rate; \
         nack.behind: repair of sound while this node is behind with sending it; \
         wish: Listen and Fetch beyond 20 a second; report: too long, or of nodes that are not below it; receipts: of \
         areas that the relay does not stand in",
    ),
    ("loa_queue_dropped_total", "What a full queue dropped, by queue"),
    ("loa_speakers_packets_received_total", "Packets of sound that the speakers known here verified, as they report"),
    ("loa_speakers_packets_repaired_total", "Those of them that came again on request, as they report"),
    ("loa_speakers_packets_lost_total", "Packets that did not come to them in time, as they report"),
    ("loa_speakers_frames_concealed_total", "Frames of 20 ms that they made up, as they report"),
];

const GAUGES: &[(&str, &str)] = &[
    ("loa_build_info", "1; what runs"),
    ("loa_ready", "1 when the node can do its work"),
    ("loa_trouble", "1 while something is wrong with this node, by its code; `loa doctor` says how to mend it"),
    ("loa_counters_age_seconds", "How old most of these numbers are; more than a few seconds: the node hangs"),
    ("loa_sessions", "Sessions that are up"),
    ("loa_sessions_paused", "Children that get no sound since their reports stay away (RFC 8083)"),
    ("loa_children_by_group", "Children that hear the LAN's multicast group"),
    ("loa_handshakes", "Handshakes of children now: half-open, and waiting for their turn"),
    ("loa_links_held_bytes", "Control and bulk that other nodes have not acknowledged"),
    ("loa_speakers", "Speakers known here, this node and all below, by what they do; unknown: their relay is lost"),
    ("loa_relays", "Relays known here, this node and all below, by what they do"),
    ("loa_speakers_troubled", "Speakers with something wrong, by its code"),
    (
        "loa_receipts",
        "Speakers known here, by what became of the newest broadcast; unknown: out of touch now; not_reached: no receipt \
         although they were in touch, or out of touch from before until it was over",
    ),
    ("loa_speakers_out_of_step", "Speakers that sound over 20 ms off, or know the time no better than to 50 ms"),
    ("loa_clock_trusted", "1 when civil time is known and signed"),
    ("loa_clock_offset_seconds", "Playout error of this speaker"),
    ("loa_clock_uncertainty_seconds", "Uncertainty of this node's phase"),
    ("loa_tick_age_seconds", "Since the newest signed tick of the origin that tells the time here"),
    ("loa_delivery_delay_seconds", "From the origin's seal to the newest verification here"),
    ("loa_muted", "1 while this loudspeaker's normal and priority are silent by somebody's wish"),
    (
        "loa_volume_decibels",
        "What applies now beside the sound as it came, limits of the hour included; the mute aside",
    ),
    ("loa_output_peak_dbfs", "Sample peak of the last second that left the device; -100: silence"),
    ("loa_output_rms_dbfs", "RMS of the last second that left the device; -100: silence"),
    ("loa_data_free_bytes", "What may still be written to the disk of the data folder"),
    ("loa_data_size_bytes", "Size of that disk"),
    ("loa_certificate_expires_seconds", "When this node's certificate expires, Unix time"),
    (
        "loa_timetable_airings",
        "Parts of the timetable of this node, two days back and as far ahead as it gives, by state",
    ),
    ("loa_timetable_reaches_seconds", "So far ahead all that is stored of this node's timetable has been given"),
    ("loa_grant_expires_seconds", "When the grant of this node's authority expires, Unix time; 0: it has none"),
];

const FIRST_SOUND: &str = "From acceptance of a broadcast, or the instant it was due if it was accepted 5 s ahead, \
     to its first sound at each speaker known here; later than a minute is not counted";
