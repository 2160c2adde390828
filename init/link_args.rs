/// What the C compiler is told when it links `rich-init`: no C start-up code, a
/// fixed address (nothing to relocate at start), and no padding between segments.
/// Shared by this crate's build script and by the runtime's, which embeds the program.
pub const LINK_ARGS: [&str; 6] = [
    "-nostartfiles",
    "-static",
    "-no-pie",
    "-Wl,--build-id=none",
    "-Wl,-z,noseparate-code",
    "-Wl,-z,norelro",
];
