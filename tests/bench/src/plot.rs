//! Curves as an SVG.

use std::{error::Error, ops::Range, path::Path};

use plotters::{coord::ranged1d::Ranged, prelude::*};

/// A picture of curves.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// Part of its file's name.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What runs to the right.
    pub(crate) along: &'static str,
    /// Whether both axes grow by factors.
    pub(crate) logarithmic: bool,
    pub(crate) curves: Vec<Curve>,
}

/// A curve: what it is called, and its points.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

type Drawn = Result<(), Box<dyn Error>>;

const COLOURS: [RGBColor; 8] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(255, 127, 14),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(227, 119, 194),
    RGBColor(127, 127, 127),
];

/// Draws to `path`.
pub(crate) fn draw(path: &Path, chart: &Chart) -> Drawn {
    plotters::style::register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| "the font cannot be read")?;
    let root = SVGBackend::new(path, (900, 460)).into_drawing_area();
    root.fill(&WHITE)?;
    let (x, y) = (range(chart, |point| point.0), range(chart, |point| point.1));
    let mut builder = ChartBuilder::on(&root);
    let builder = builder
        .caption(chart.title, ("sans-serif", 18))
        .margin(12)
        .margin_right(32)
        .x_label_area_size(40)
        .y_label_area_size(72);
    if chart.logarithmic {
        // Room for the names of the curves above them.
        let y = (y.start * 0.8)..(y.end * 2.5);
        lines(builder.build_cartesian_2d(x.log_scale(), y.log_scale())?, chart)?;
    } else {
        lines(builder.build_cartesian_2d(0.0..x.end, 0.0..y.end * 1.3)?, chart)?;
    }
    root.present()?;
    Ok(())
}

/// From the least to the most, never empty.
fn range(chart: &Chart, of: impl Fn(&(f64, f64)) -> f64) -> Range<f64> {
    let values = || chart.curves.iter().flat_map(|curve| &curve.points).map(&of);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let least = if least.is_finite() { least.max(1e-3) } else { 1e-3 };
    least..most.max(least * 1.01)
}

fn lines<'a, X, Y>(mut area: ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>, chart: &Chart) -> Drawn
where
    X: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>,
{
    let plain = |value: &f64| format!("{value}");
    let mut mesh = area.configure_mesh();
    mesh.x_desc(chart.along).x_label_formatter(&plain).y_label_formatter(&plain);
    mesh.light_line_style(WHITE).draw()?;
    for (curve, colour) in chart.curves.iter().zip(COLOURS.iter().cycle()) {
        let (points, style) = (curve.points.iter().copied(), colour.stroke_width(2));
        area.draw_series(LineSeries::new(points.clone(), style))?
            .label(curve.name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        area.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    let names = SeriesLabelPosition::UpperLeft;
    area.configure_series_labels().position(names).background_style(WHITE.mix(0.8)).draw()?;
    Ok(())
}
