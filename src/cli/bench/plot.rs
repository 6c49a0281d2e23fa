//! The curves of a run as a picture: latency by percentile above, throughput over time below.

use std::{error::Error, fs::File, io::BufWriter, path::Path};

use plotters::{
    coord::{Shift, ranged1d::Ranged},
    prelude::*,
};

use super::report::{Report, latencies, length};
use crate::cli::latency::Latency;

type Area<B> = DrawingArea<B, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const COLOURS: [RGBColor; 3] = [RGBColor(31, 119, 180), RGBColor(214, 39, 40), RGBColor(44, 160, 44)];
/// Percentiles are drawn by their nines: 90 % is 1, 99 % is 2.
const NINES: f64 = 4.0;
const POINTS: u32 = 200;
/// Width and height of the picture.
const SIZE: (u32, u32) = (900, 760);

/// How a picture is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Svg,
    Png,
}

impl Format {
    /// By the ending of the file's name.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_ascii_lowercase().to_str()? {
            "svg" => Some(Self::Svg),
            "png" => Some(Self::Png),
            _ => None,
        }
    }
}

/// A curve: what it is called, and its points.
struct Curve {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// Draws to `path`, in the format of its ending.
pub(super) fn draw(path: &Path, report: &Report<'_>) -> Drawn {
    plotters::style::register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| "the font cannot be read")?;
    match Format::of(path) {
        Some(Format::Png) => {
            let mut pixels = vec![0; SIZE.0 as usize * SIZE.1 as usize * 3];
            figure(&BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area(), report)?;
            png(path, &pixels)
        }
        Some(Format::Svg) | None => figure(&SVGBackend::new(path, SIZE).into_drawing_area(), report),
    }
}

/// Writes pixels of red, green and blue.
fn png(path: &Path, pixels: &[u8]) -> Drawn {
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), SIZE.0, SIZE.1);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    Ok(writer.finish()?)
}

fn figure<B: DrawingBackend<ErrorType: 'static>>(root: &Area<B>, report: &Report<'_>) -> Drawn {
    root.fill(&WHITE)?;
    let (top, bottom) = root.split_vertically(400);
    let times = latencies(report.tally);
    // How late requests went out is for the tables.
    let times = times[..3].iter().filter(|(_, _, latency)| !latency.is_empty());
    let times: Vec<Curve> = times.map(|(name, _, latency)| by_nines(name, latency)).collect();
    by_percentile(&top, &times)?;
    over_time(&bottom, &rates(report))?;
    root.present()?;
    Ok(())
}

fn by_nines(name: &'static str, latency: &Latency) -> Curve {
    let point = |n| {
        let nines = NINES * f64::from(n) / f64::from(POINTS);
        let time = latency.at(1.0 - 10_f64.powf(-nines));
        (nines, (time.as_secs_f64() * 1e3).max(0.01))
    };
    Curve { name, points: (0..=POINTS).map(point).collect() }
}

fn rates(report: &Report<'_>) -> [Curve; 2] {
    let tally = report.tally;
    [("accepted", &tally.accepts), ("ended", &tally.ends)].map(|(name, series)| {
        let (seconds, rates) = series.stretches(length(tally));
        let times = (0_u32..).map(|n| f64::from(n) * seconds);
        Curve { name, points: times.zip(rates).collect() }
    })
}

fn by_percentile<B: DrawingBackend<ErrorType: 'static>>(area: &Area<B>, curves: &[Curve]) -> Drawn {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    // Room for the names of the curves below them.
    let low = points().map(|point| point.1).fold(f64::INFINITY, f64::min).min(1e6) * 0.3;
    let high = points().map(|point| point.1).fold(low, f64::max) * 1.2;
    let mut chart = ChartBuilder::on(area)
        .caption("Latency by percentile, ms", ("sans-serif", 18))
        .margin(12)
        .margin_right(32)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..NINES, (low..high).log_scale())?;
    let percentile = |nines: &f64| {
        let percent = 100.0 - 10_f64.powf(2.0 - nines);
        format!("{percent:.3}").trim_end_matches('0').trim_end_matches('.').to_owned() + " %"
    };
    chart.configure_mesh().x_labels(5).x_label_formatter(&percentile).light_line_style(WHITE).draw()?;
    lines(&mut chart, curves, SeriesLabelPosition::LowerRight)
}

fn over_time<B: DrawingBackend<ErrorType: 'static>>(area: &Area<B>, curves: &[Curve]) -> Drawn {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let right = points().map(|point| point.0).fold(1.0, f64::max);
    let high = points().map(|point| point.1).fold(1.0, f64::max) * 1.3;
    let mut chart = ChartBuilder::on(area)
        .caption("Dispatches a second", ("sans-serif", 18))
        .margin(12)
        .margin_right(32)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, 0.0..high)?;
    chart.configure_mesh().x_desc("seconds after the warm-up").light_line_style(WHITE).draw()?;
    lines(&mut chart, curves, SeriesLabelPosition::UpperRight)
}

/// The curves and what they are called.
fn lines<'a, B, X, Y>(
    chart: &mut ChartContext<'a, B, Cartesian2d<X, Y>>,
    curves: &[Curve],
    names: SeriesLabelPosition,
) -> Drawn
where
    B: DrawingBackend<ErrorType: 'static> + 'a,
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    for (curve, colour) in curves.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)))?
            .label(curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().position(names).background_style(WHITE.mix(0.8)).draw()?;
    Ok(())
}
