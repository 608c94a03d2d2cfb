//! Which file becomes which; found out, and refused, before any work begins.
use crate::control::text::Failure;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One input and all that is made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub source: Source,
    /// As it was named.
    pub name: String,
    /// For the tags.
    pub title: String,
    /// One for each bitrate.
    pub outputs: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    Standard,
}

/// `output` is a file for one input, a folder for several (made, if its name ends with "/"); without it each
/// output stands beside its input.
pub fn plan(files: &[PathBuf], output: Option<&Path>, bitrates: &[u32]) -> Result<Vec<Task>, Failure> {
    let folder = output.filter(|output| output.is_dir() || ends_as_folder(output));
    if let (Some(output), None, true) = (output, folder, files.len() > 1) {
        return Err(Failure::new("usage.output_folder", [&files.len(), &output.display()]));
    }
    if output.is_some_and(|output| output.as_os_str() == STANDARD) {
        return Err(Failure::new("usage.output_stream", []));
    }
    let mut taken: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut tasks = Vec::with_capacity(files.len());
    for file in files {
        let task = task(file, output, folder, bitrates)?;
        for path in &task.outputs {
            if let Source::File(source) = &task.source
                && place(source) == place(path)
            {
                return Err(Failure::new("usage.output_self", [&task.name]));
            }
            if let Some(other) = taken.insert(place(path), task.name.clone()) {
                return Err(Failure::new("usage.output_same", [&other, &task.name, &path.display()]));
            }
        }
        tasks.push(task);
    }
    // Nobody's input is overwritten by somebody's output, whatever the order.
    for task in &tasks {
        if let Source::File(source) = &task.source
            && let Some(other) = taken.get(&place(source))
        {
            return Err(Failure::new("usage.output_same", [other, &task.name, &source.display()]));
        }
    }
    if let Some(folder) = folder {
        fs::create_dir_all(folder).map_err(|error| Failure::new("transcode.write", [&folder.display(), &error]))?;
    }
    Ok(tasks)
}

fn task(file: &Path, output: Option<&Path>, folder: Option<&Path>, bitrates: &[u32]) -> Result<Task, Failure> {
    let standard = file.as_os_str() == STANDARD;
    let stem = if standard { "stdin".into() } else { file.file_stem().unwrap_or(file.as_os_str()).to_owned() };
    let mut named = PathBuf::from(&stem).into_os_string();
    named.push(".opus");
    let path = match (output, folder) {
        (_, Some(folder)) => folder.join(named),
        (Some(output), None) => output.to_owned(),
        (None, None) if standard => return Err(Failure::new("usage.output_needed", [])),
        (None, None) => file.with_file_name(named),
    };
    let outputs = match bitrates {
        [_] => vec![path.clone()],
        several => several.iter().map(|bitrate| of_rendition(&path, *bitrate)).collect(),
    };
    let title = if standard { path.file_stem().unwrap_or_default().to_owned() } else { stem };
    let (source, name) = match standard {
        true => (Source::Standard, "standard input".into()),
        false => (Source::File(file.to_owned()), file.display().to_string()),
    };
    Ok(Task { source, name, title: title.to_string_lossy().into_owned(), outputs })
}

/// `a/b.opus` at 16,000 is `a/b-16k.opus`.
fn of_rendition(path: &Path, bitrate: u32) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{}k", f64::from(bitrate) / 1e3));
    if let Some(end) = path.extension() {
        name.push(".");
        name.push(end);
    }
    path.with_file_name(name)
}

fn ends_as_folder(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// One spelling for each place, whether there is a file yet or not.
fn place(path: &Path) -> PathBuf {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match (path.canonicalize(), parent.canonicalize(), path.file_name()) {
        (Ok(whole), _, _) => whole,
        (_, Ok(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

const STANDARD: &str = "-";

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(files: &[&str], output: Option<&str>, bitrates: &[u32]) -> Result<Vec<String>, String> {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        let tasks = plan(&files, output.map(Path::new), bitrates).map_err(|failure| failure.code)?;
        Ok(tasks.iter().flat_map(|task| &task.outputs).map(|path| path.display().to_string()).collect())
    }

    #[test]
    fn an_output_stands_beside_its_input_or_where_it_is_asked_for() {
        assert_eq!(outputs(&["x/a.mp3", "b.tin.wav"], None, &[24_000]).unwrap(), ["x/a.opus", "b.tin.opus"]);
        assert_eq!(outputs(&["x/a.mp3"], Some("y.ogg"), &[24_000]).unwrap(), ["y.ogg"]);
        let folder = tempfile::tempdir().unwrap();
        let new = format!("{}/new/", folder.path().display());
        let both = outputs(&["x/a.mp3", "b.wav"], Some(&new), &[24_000]).unwrap();
        assert_eq!(both, [format!("{new}a.opus"), format!("{new}b.opus")]);
        assert!(Path::new(&new).is_dir());
    }

    #[test]
    fn each_rendition_has_its_bitrate_in_its_name() {
        let names = outputs(&["a.mp3"], Some("out.opus"), &[24_000, 16_000, 14_500]).unwrap();
        assert_eq!(names, ["out-24k.opus", "out-16k.opus", "out-14.5k.opus"]);
    }

    #[test]
    fn what_would_overwrite_an_input_or_another_output_is_refused_at_once() {
        let refused = |files: &[&str], output| outputs(files, output, &[24_000]).unwrap_err();
        assert_eq!(refused(&["a.mp3", "b.mp3"], Some("out.opus")), "usage.output_folder");
        assert_eq!(refused(&["x.mp3", "x.wav"], None), "usage.output_same");
        assert_eq!(refused(&["./x.mp3", "x.mp3"], None), "usage.output_same");
        assert_eq!(refused(&["a.opus"], None), "usage.output_self");
        assert_eq!(refused(&["a.mp3"], Some("a.mp3")), "usage.output_self");
        assert_eq!(refused(&["-"], None), "usage.output_needed");
        assert_eq!(refused(&["a.mp3"], Some("-")), "usage.output_stream");
        let folder = tempfile::tempdir().unwrap();
        let within = folder.path().join("b.opus");
        let into = format!("{}/", folder.path().display());
        assert_eq!(refused(&[within.to_str().unwrap()], Some(&into)), "usage.output_self");
        let renditions = outputs(&["a.wav", "a-16k.opus"], None, &[16_000, 24_000]);
        assert_eq!(renditions.unwrap_err(), "usage.output_same");
    }
}
