//! The curves as an SVG: sizes above, speed below.

use std::path::Path;

use plotters::prelude::*;

use crate::run::Sample;

type Backend<'a> = SVGBackend<'a>;
type Area<'a> = DrawingArea<Backend<'a>, plotters::coord::Shift>;

/// A curve: what it is called, its colour, its points.
struct Curve<'a> {
    name: &'a str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

fn curve<'a>(name: &'a str, colour: RGBColor, samples: &[Sample], of: impl Fn(&Sample) -> f64) -> Curve<'a> {
    let points = samples.iter().skip(1).map(|s| (s.second as f64, of(s))).collect();
    Curve { name, colour, points }
}

/// Draws both runs to `path`.
pub fn draw(path: &Path, slots: &[Sample], plain: &[Sample]) -> Result<(), Box<dyn std::error::Error>> {
    plotters::style::register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| "the font cannot be read")?;
    let root = SVGBackend::new(path, (900, 700)).into_drawing_area();
    root.fill(&WHITE)?;
    let (top, bottom) = root.split_vertically(380);
    let (blue, red) = (RGBColor(31, 119, 180), RGBColor(214, 39, 40));
    let (light, pink) = (RGBColor(120, 180, 220), RGBColor(240, 150, 150));
    chart(
        &top,
        "Size on disk while another session holds an old snapshot, MB",
        &[
            curve("outbox, slots", blue, slots, |s| s.outbox),
            curve("outbox, one slot", red, plain, |s| s.outbox),
            curve("inbox, slots", light, slots, |s| s.inbox),
            curve("inbox, one slot", pink, plain, |s| s.inbox),
        ],
    )?;
    chart(
        &bottom,
        "Messages per second through outbox, broker and inbox",
        &[curve("slots", blue, slots, |s| s.rate), curve("one slot", red, plain, |s| s.rate)],
    )?;
    root.present()?;
    Ok(())
}

fn chart(area: &Area<'_>, title: &str, curves: &[Curve<'_>]) -> Result<(), Box<dyn std::error::Error>> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let right = points().map(|point| point.0).fold(1.0, f64::max);
    let high = points().map(|point| point.1).fold(1.0, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, 0.0..high)?;
    chart.configure_mesh().x_desc("seconds").light_line_style(WHITE).draw()?;
    for curve in curves {
        let colour = curve.colour;
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)))?
            .label(curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    Ok(())
}
