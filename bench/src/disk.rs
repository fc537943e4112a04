//! What the data folder lies on: a benchmark of durability on a file system in memory would measure nothing.

use std::path::Path;

/// File systems that keep nothing on a disk.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// The name of the file system that `folder` lies on.
///
/// # Errors
/// When it cannot be asked, or lies in memory.
pub(crate) fn durable_fs_type(folder: &Path) -> Result<&'static str, String> {
    let stat = rustix::fs::statfs(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    // The magic numbers of statfs(2).
    let name = match stat.f_type {
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x794c_7630 => "overlayfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        _ => "other",
    };
    if IN_MEMORY.contains(&name) {
        return Err(format!(
            "{} is on {name}: nothing there is durable, choose a folder on a disk",
            folder.display()
        ));
    }
    Ok(name)
}
