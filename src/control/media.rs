//! The media of a node: each upload is encoded once and kept by its SHA-256.
//!
//! ```text
//! media/<sha256 of the upload>/frames         20 ms Opus frames of the first rendition, checksummed (audio::Frames)
//!                             /frames-16000   of another, by its bitrate
//!                             /report.json    what the transcoder found
//! media/.new-<uuid>/                         in the making; swept at the next start
//! ```
//! A folder appears whole, by one rename, or not at all.
use super::report;
use super::text::Failure;
use crate::audio::{self, Frames, FramesWriter};
use crate::config::Sources;
use crate::io::decoder::Isolation;
use crate::io::{clock, identity};
use aws_lc_rs::digest;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// What is known of one upload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Media {
    /// SHA-256 of the upload, hex.
    pub id: String,
    /// As the first upload called it.
    pub name: String,
    /// Of the upload.
    pub bytes: u64,
    /// Opus, b/s, of the first rendition.
    pub bitrate: u32,
    /// Of all that are kept and aired, that one first.
    #[serde(default)]
    pub bitrates: Vec<u32>,
    /// Seconds of sound.
    pub duration: f64,
    /// Integrated loudness of the upload, LUFS.
    pub loudness: Option<f64>,
    /// dBTP.
    pub true_peak: Option<f64>,
    /// dB, applied.
    pub gain: f64,
    /// All that the transcoder found. Not in lists, nor of uploads from before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<audio::Report>,
}

/// `media/` of one data folder. Blocking.
#[derive(Debug)]
pub struct Library {
    folder: PathBuf,
    settings: RwLock<Arc<Settings>>,
}

/// How uploads are encoded, and where they are decoded.
#[derive(Clone, Debug)]
pub struct Settings {
    pub options: audio::Options,
    pub isolation: Isolation,
}

impl Library {
    /// Sweeps what an earlier process left half made.
    pub fn open(data: &Path, options: audio::Options, isolation: Isolation) -> io::Result<Self> {
        let folder = data.join("media");
        make_folder(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(MAKING) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self { folder, settings: RwLock::new(Arc::new(Settings { options, isolation })) })
    }

    /// From the next upload on; what is kept stays as it is.
    pub fn change(&self, change: impl FnOnce(&mut Settings)) {
        let mut held = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut held));
    }

    /// Begins an upload; nothing stays of it unless it is finished.
    pub fn begin(&self, name: &str) -> Result<Upload, Failure> {
        let name = file_name(name)?;
        let folder = self.folder.join(format!("{MAKING}{}", identity::new_id(clock::wall())));
        let made = make_folder(&folder).and_then(|()| File::create_new(folder.join(UPLOAD)));
        let file = made.map_err(|error| unkept(&folder, &error))?;
        Ok(Upload { folder, file, name, bytes: 0, hash: digest::Context::new(&digest::SHA256) })
    }

    /// Encodes an upload that has come whole, unless it was there before; frame by frame onto the disk. Takes
    /// about a hundredth of the sound's length. The decoder lives no longer than the calling thread.
    pub fn finish(&self, upload: Upload) -> Result<Media, Failure> {
        let id = hex(upload.hash.clone().finish().as_ref());
        if let Some(media) = self.get(&id)? {
            return Ok(media);
        }
        let unkept = |error: io::Error| unkept(&upload.folder, &error);
        let source = upload.folder.join(UPLOAD);
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner).clone();
        let bitrates = &settings.options.bitrates;
        let mut renditions = Vec::with_capacity(bitrates.len());
        for name in (0..bitrates.len()).map(|number| frames_name(bitrates, number)) {
            let file = File::options().read(true).write(true).create_new(true).open(upload.folder.join(name));
            let bitrate = bitrates[renditions.len()];
            renditions.push(file.and_then(|file| FramesWriter::new(file, bitrate)).map_err(unkept)?);
        }
        // A full disk is not the file's fault: it is told apart from what the transcoder says.
        let mut full = None;
        let mut keep = |rendition: usize, frame: Bytes| {
            renditions[rendition].frame(&frame).map_err(|error| {
                let said = audio::Error::new("media.store", error.to_string());
                full = Some(error);
                said
            })
        };
        let open = || settings.isolation.file(&source, &upload.name);
        let result = audio::transcode(open, &upload.name, &settings.options, &mut keep, |_| ());
        if let Some(error) = full {
            return Err(unkept(error));
        }
        let report = report::rounded(result.map_err(|error| Failure::from_room(error.code, error.text))?);
        if renditions.iter().any(|rendition| rendition.count() == 0) {
            let text = format!("{}: 0 s: there is no sound in it; upload a file that has", upload.name);
            return Err(Failure::from_room("media.empty", text));
        }
        for rendition in renditions {
            rendition.finish().and_then(|file| file.sync_all()).map_err(unkept)?;
        }
        let media = Media {
            id,
            name: upload.name.clone(),
            bytes: upload.bytes,
            bitrate: bitrates.first().copied().unwrap_or_default(),
            bitrates: bitrates.clone(),
            duration: report.duration,
            loudness: report.before.loudness,
            true_peak: report.before.true_peak,
            gain: report.gain,
            report: Some(report),
        };
        self.place(&upload, &media).map_err(unkept)?;
        Ok(media)
    }

    /// The order matters: all that a folder holds is on disk before its name is.
    fn place(&self, upload: &Upload, media: &Media) -> io::Result<()> {
        let mut file = File::create_new(upload.folder.join(REPORT))?;
        file.write_all(&serde_json::to_vec_pretty(media)?)?;
        file.sync_all()?;
        fs::remove_file(upload.folder.join(UPLOAD))?;
        File::open(&upload.folder)?.sync_all()?;
        let place = self.folder.join(&media.id);
        match fs::rename(&upload.folder, &place) {
            // The same file came twice at once, and the other was faster.
            Err(_) if place.join(REPORT).exists() => {}
            renamed => renamed?,
        }
        File::open(&self.folder)?.sync_all()
    }

    /// `None` if there is none of this id, or the id is none.
    pub fn get(&self, id: &str) -> Result<Option<Media>, Failure> {
        if !is_id(id) {
            return Ok(None);
        }
        let file = self.folder.join(id).join(REPORT);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unkept(&file, &error)),
        };
        let mut media: Media = serde_json::from_slice(&text).map_err(|error| unkept(&file, &error.into()))?;
        if media.bitrates.is_empty() {
            media.bitrates = vec![media.bitrate];
        }
        Ok(Some(media))
    }

    /// By name, at most [`LISTED`].
    pub fn list(&self) -> Result<Vec<Media>, Failure> {
        let entries = fs::read_dir(&self.folder).map_err(|error| unkept(&self.folder, &error))?;
        let mut all = Vec::new();
        for entry in entries.take(LISTED) {
            let entry = entry.map_err(|error| unkept(&self.folder, &error))?;
            all.extend(self.get(&entry.file_name().to_string_lossy())?.map(|media| Media { report: None, ..media }));
        }
        all.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(all)
    }

    /// Every rendition of `media`, in the order in which they are aired.
    pub fn renditions(&self, media: &Media) -> Result<Vec<Frames>, Failure> {
        (0..media.bitrates.len().max(1)).map(|number| self.rendition(media, number)).collect()
    }

    #[cfg(test)]
    pub fn frames(&self, media: &Media) -> Result<Frames, Failure> {
        self.rendition(media, 0)
    }

    fn rendition(&self, media: &Media, number: usize) -> Result<Frames, Failure> {
        let file = self.folder.join(&media.id).join(frames_name(&media.bitrates, number));
        let bytes = fs::read(&file).map_err(|error| unkept(&file, &error))?;
        Frames::from_bytes(&bytes).map_err(|error| {
            Failure::from_room(
                error.code,
                format!("{}: {} (delete its folder and upload it again)", file.display(), error.text),
            )
        })
    }
}

/// A file on its way in. Dropped, it leaves nothing behind.
pub struct Upload {
    folder: PathBuf,
    file: File,
    name: String,
    bytes: u64,
    hash: digest::Context,
}

impl Upload {
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.bytes += bytes.len() as u64;
        if self.bytes > LARGEST {
            return Err(Failure::new("media.too_large", [&self.name, &LARGEST]));
        }
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(|error| unkept(&self.folder, &error))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Renamed away when it was finished; what cannot be removed is swept at the next start.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Of a path, its last part; for people only: nothing on disk is named by it.
pub(super) fn file_name(name: &str) -> Result<String, Failure> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or("").trim();
    if last.is_empty() || last.len() > LONGEST_NAME || last.chars().any(char::is_control) {
        return Err(Failure::new("media.name", [&format!("{name:?}")]));
    }
    Ok(last.to_owned())
}

/// What a node's configuration asks of the transcoder.
pub fn options(sources: &Sources) -> audio::Options {
    audio::Options {
        bitrates: sources.bitrates.clone(),
        complexity: sources.complexity,
        loudness: sources.loudness,
        peak: sources.peak,
        speech: sources.speech,
        silence: (sources.silence_ms >= 0).then(|| f64::from(sources.silence_ms) / 1e3),
        ..audio::Options::default()
    }
}

/// The first has no bitrate in its name: so did the only one, before there were several.
fn frames_name(bitrates: &[u32], number: usize) -> String {
    match number {
        0 => FRAMES.into(),
        _ => format!("{FRAMES}-{}", bitrates.get(number).copied().unwrap_or_default()),
    }
}

fn is_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is to be aired is nobody's business before.
fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn unkept(place: &Path, error: &io::Error) -> Failure {
    Failure::new("media.store", [&format!("{}: {error}", place.display())])
}

/// Bytes of an upload: three hours of 48 kHz, 24-bit stereo.
const LARGEST: u64 = 2 << 30;
/// Bytes, as a file system's.
const LONGEST_NAME: usize = 200;
/// Media in one answer.
const LISTED: usize = 10_000;
const MAKING: &str = ".new-";
const UPLOAD: &str = "upload";
const FRAMES: &str = "frames";
const REPORT: &str = "report.json";

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A second of a 440 Hz tone as WAV.
    pub fn wav(seconds: f64) -> Vec<u8> {
        let mut out = io::Cursor::new(Vec::new());
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 48_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::new(&mut out, spec).unwrap();
        for n in 0..(seconds * 48_000.0) as u32 {
            let phase = f64::from(n) * 440.0 / 48_000.0 * std::f64::consts::TAU;
            writer.write_sample((phase.sin() * 8_000.0) as i16).unwrap();
        }
        writer.finalize().unwrap();
        out.into_inner()
    }

    fn library(folder: &Path) -> Library {
        let options = audio::Options { complexity: 0, ..Default::default() };
        Library::open(folder, options, Isolation::default()).unwrap()
    }

    fn upload(library: &Library, name: &str, bytes: &[u8]) -> Result<Media, Failure> {
        let mut upload = library.begin(name)?;
        bytes.chunks(1_000).try_for_each(|part| upload.write(part))?;
        library.finish(upload)
    }

    fn names(library: &Library) -> Vec<String> {
        let entries = fs::read_dir(&library.folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn an_upload_is_encoded_once_and_answered_at_once_the_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let library = library(folder.path());
        let first = upload(&library, "tin/bản tin.wav", &wav(0.5)).unwrap();
        assert_eq!(first.name, "bản tin.wav");
        assert!((first.duration - 0.5).abs() < 0.001);
        let frames = folder.path().join("media").join(&first.id).join(FRAMES);
        let written = fs::metadata(&frames).unwrap().modified().unwrap();
        let second = upload(&library, "other name.wav", &wav(0.5)).unwrap();
        assert_eq!(second, first);
        assert_eq!(fs::metadata(&frames).unwrap().modified().unwrap(), written);
        assert_eq!(names(&library), [first.id.as_str()]);
        assert_eq!(library.list().unwrap(), [Media { report: None, ..first.clone() }]);
        assert!((25..=26).contains(&library.frames(&first).unwrap().frames.len()));
        let report = first.report.unwrap();
        assert_eq!((report.facts.container.as_str(), report.damage.len()), ("WAV", 0));
    }

    #[test]
    fn each_rendition_is_kept_by_its_bitrate_and_the_first_is_aired() {
        let folder = tempfile::tempdir().unwrap();
        let options = audio::Options { complexity: 0, bitrates: vec![24_000, 16_000, 48_000], ..Default::default() };
        let library = Library::open(folder.path(), options, Isolation::default()).unwrap();
        let media = upload(&library, "a.wav", &wav(0.5)).unwrap();
        assert_eq!((media.bitrate, media.bitrates.as_slice()), (24_000, &[24_000, 16_000, 48_000][..]));
        let aired = library.frames(&media).unwrap();
        let all = library.renditions(&media).unwrap();
        assert_eq!(all.iter().map(|frames| frames.bitrate).collect::<Vec<_>>(), [24_000, 16_000, 48_000]);
        assert_eq!(aired.bitrate, 24_000);
        for (name, size) in [("frames", 60), ("frames-16000", 40), ("frames-48000", 120)] {
            let file = library.folder.join(&media.id).join(name);
            let frames = Frames::from_bytes(&fs::read(file).unwrap()).unwrap();
            assert_eq!(frames.frames.len(), aired.frames.len(), "{name}");
            assert_eq!(frames.frames[0].len(), size, "{name}");
        }
    }

    #[test]
    fn a_folder_from_before_there_were_renditions_is_still_aired() {
        let folder = tempfile::tempdir().unwrap();
        let library = library(folder.path());
        let id = "ab".repeat(32);
        let frames = Frames { bitrate: 24_000, frames: vec![Bytes::from(vec![9 << 3; 60]); 25] };
        fs::create_dir(library.folder.join(&id)).unwrap();
        fs::write(library.folder.join(&id).join("frames"), frames.to_bytes()).unwrap();
        let report = format!(
            "{{\"id\": \"{id}\", \"name\": \"a.wav\", \"bytes\": 48044, \"bitrate\": 24000, \"duration\": 0.5, \
             \"loudness\": -15.5, \"true_peak\": null, \"gain\": -0.5}}"
        );
        fs::write(library.folder.join(&id).join("report.json"), report).unwrap();
        let media = library.get(&id).unwrap().unwrap();
        assert_eq!((media.bitrates.as_slice(), &media.report), (&[24_000][..], &None));
        assert_eq!(library.frames(&media).unwrap(), frames);
        assert_eq!(library.list().unwrap(), [media]);
    }

    #[test]
    fn an_upload_that_is_broken_off_or_refused_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let library = library(folder.path());
        let mut cut = library.begin("a.wav").unwrap();
        cut.write(&wav(0.1)[..500]).unwrap();
        drop(cut);
        assert!(upload(&library, "a.wav", b"this is no sound at all").unwrap_err().code.starts_with("media."));
        assert!(upload(&library, "a.wav", b"").unwrap_err().code.starts_with("media."));
        assert_eq!(names(&library), [""; 0]);
    }

    #[test]
    fn what_a_killed_process_left_half_made_is_swept_and_never_listed() {
        let folder = tempfile::tempdir().unwrap();
        let media = upload(&library(folder.path()), "a.wav", &wav(0.1)).unwrap();
        let half = folder.path().join("media/.new-019aa");
        fs::create_dir(&half).unwrap();
        fs::write(half.join(FRAMES), "half").unwrap();
        let library = library(folder.path());
        assert!(!half.exists());
        assert_eq!(library.list().unwrap(), [Media { report: None, ..media }]);
    }

    #[test]
    fn the_same_file_twice_at_once_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let library = library(folder.path());
        let bytes = wav(0.1);
        let (mut a, mut b) = (library.begin("a.wav").unwrap(), library.begin("b.wav").unwrap());
        a.write(&bytes).unwrap();
        b.write(&bytes).unwrap();
        let a = library.finish(a).unwrap();
        library.place(&b, &a).unwrap();
        drop(b);
        assert_eq!(names(&library), [a.id]);
    }

    #[test]
    fn names_are_for_people_and_ids_are_no_paths() {
        let folder = tempfile::tempdir().unwrap();
        let library = library(folder.path());
        for wrong in ["", "a/", "a\nb", &"a".repeat(201)] {
            assert_eq!(library.begin(wrong).err().unwrap().code, "media.name", "{wrong:?}");
        }
        assert_eq!(library.get("../../etc/passwd"), Ok(None));
        assert_eq!(library.get(&"A".repeat(64)), Ok(None));
        assert_eq!(library.get(&"a".repeat(64)), Ok(None));
    }
}
