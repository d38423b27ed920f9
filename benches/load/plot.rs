//! Pictures of the results, as SVG: lines and bars, drawn by plotters.

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::{Cost, Series};

const SIZE: (u32, u32) = (920, 440);
/// Room of a bar, and of its name at the left.
const BAR_PX: u32 = 26;
const NAME_PX: u32 = 300;
const SERVER_PX: u32 = 120;
/// Pixels around the bars: title, axis.
const FRAME_PX: u32 = 90;

type Drawn = Result<String, Box<dyn Error>>;

/// Memory against the number of sessions.
pub(crate) fn memory(title: &str, series: &[Series]) -> Drawn {
    let axes = Axes { title, x: "sessions", y: "RSS, MiB", legend: SeriesLabelPosition::UpperLeft };
    let (x, y) = (0.0..greatest(series, |point| point.0), 0.0..greatest(series, |point| point.1));
    draw(SIZE, |area| lines(area, &axes, x, y, &|count| format!("{count:.0}"), series))
}

/// Operations a second against time.
pub(crate) fn throughput(title: &str, series: &[Series]) -> Drawn {
    let axes = Axes { title, x: "seconds", y: "each second", legend: SeriesLabelPosition::LowerRight };
    let (x, y) = (0.0..greatest(series, |point| point.0), 0.0..greatest(series, |point| point.1));
    let digits = if x.end < 1.0 { 2 } else { 1 };
    draw(SIZE, |area| lines(area, &axes, x, y, &|seconds| format!("{seconds:.digits$}"), series))
}

/// Latency against percentiles, both so that what is rare and long has its room.
pub(crate) fn latencies(title: &str, series: &[Series]) -> Drawn {
    let axes = Axes { title, x: "percentile", y: "microseconds", legend: SeriesLabelPosition::LowerRight };
    let least = series.iter().flat_map(|series| &series.points).map(|point| point.1).fold(f64::MAX, f64::min);
    let y = (least.max(1.0) * 0.8..greatest(series, |point| point.1).max(10.0)).log_scale();
    let x = 0.0..greatest(series, |point| point.0);
    draw(SIZE, |area| lines(area, &axes, x, y, &|nines| percent(*nines), series))
}

/// Processor time of an operation, with its limit as a dark bar inside.
pub(crate) fn costs(title: &str, costs: &[Cost]) -> Drawn {
    let size = (SIZE.0, BAR_PX * costs.len() as u32 + FRAME_PX);
    draw(size, |area| bars(area, &Bars { title, x: "microseconds", names_px: NAME_PX, title_px: 20 }, costs))
}

/// One small picture for each figure of several servers, two in a row; `text` has lines `figure TAB server TAB number`.
pub(crate) fn comparison(text: &str) -> Drawn {
    let mut figures: Vec<(&str, Vec<Cost>)> = Vec::new();
    for line in text.lines() {
        let mut words = line.split('\t');
        let (Some(figure), Some(server), Some(number)) = (words.next(), words.next(), words.next()) else {
            return Err(format!("{line:?} is not `figure TAB server TAB number`").into());
        };
        let bar = Cost { name: server.to_owned(), us: number.parse()?, limit_us: None };
        match figures.last_mut().filter(|(known, _)| *known == figure) {
            Some((_, bars)) => bars.push(bar),
            None => figures.push((figure, vec![bar])),
        }
    }
    let tallest = figures.iter().map(|(_, bars)| bars.len() as u32).max().unwrap_or(0);
    let rows = figures.len().div_ceil(2);
    draw((SIZE.0, rows as u32 * (BAR_PX * tallest + FRAME_PX)), |area| {
        // The first server at the top.
        figures.iter_mut().for_each(|(_, bars)| bars.reverse());
        for (part, (figure, costs)) in area.split_evenly((rows, 2)).iter().zip(&figures) {
            bars(part, &Bars { title: figure, x: "", names_px: SERVER_PX, title_px: 18 }, costs)?;
        }
        Ok(())
    })
}

fn draw(
    size: (u32, u32),
    picture: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn Error>>,
) -> Drawn {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        picture(&area)?;
        area.present()?;
    }
    Ok(svg)
}

struct Axes<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    /// Where the lines leave room.
    legend: SeriesLabelPosition,
}

fn lines<Y>(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    axes: &Axes<'_>,
    x: Range<f64>,
    y: Y,
    x_label: &dyn Fn(&f64) -> String,
    series: &[Series],
) -> Result<(), Box<dyn Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut builder = ChartBuilder::on(area);
    builder.caption(axes.title, ("sans-serif", 20)).margin(12).x_label_area_size(40).y_label_area_size(70);
    let mut chart = builder.build_cartesian_2d(x, y)?;
    chart.configure_mesh().x_desc(axes.x).y_desc(axes.y).x_label_formatter(&x_label).light_line_style(WHITE).draw()?;
    for (number, series) in series.iter().enumerate() {
        let color = Palette99::pick(number).to_rgba();
        let drawn = chart.draw_series(LineSeries::new(series.points.iter().copied(), color.stroke_width(2)))?;
        let swatch = move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], color.stroke_width(2));
        drawn.label(&series.name).legend(swatch);
    }
    chart
        .configure_series_labels()
        .position(axes.legend.clone())
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    Ok(())
}

struct Bars<'a> {
    title: &'a str,
    x: &'a str,
    /// Room for the names at the left, and the height of the title's letters.
    names_px: u32,
    title_px: u32,
}

fn bars(area: &DrawingArea<SVGBackend<'_>, Shift>, look: &Bars<'_>, costs: &[Cost]) -> Result<(), Box<dyn Error>> {
    let most = costs.iter().map(|cost| cost.us).fold(0.0, f64::max);
    let mut builder = ChartBuilder::on(area);
    builder.caption(look.title, ("sans-serif", look.title_px)).margin(12);
    builder.x_label_area_size(36).y_label_area_size(look.names_px);
    // Room at the right for the number.
    let mut chart = builder.build_cartesian_2d(0.0..most.max(0.001) * 1.35, (0..costs.len()).into_segmented())?;
    let name = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(bar) => costs.get(*bar).map(|cost| cost.name.clone()).unwrap_or_default(),
        SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
    };
    let mut mesh = chart.configure_mesh();
    mesh.label_style(("sans-serif", 15))
        .disable_y_mesh()
        .x_labels(5)
        .y_labels(costs.len().max(1))
        .y_label_formatter(&name)
        .x_desc(look.x)
        .draw()?;
    let bar = |at: usize, us: f64, color: RGBAColor, inset: u32| {
        let corners = [(0.0, SegmentValue::Exact(at)), (us, SegmentValue::Exact(at + 1))];
        let mut bar = Rectangle::new(corners, color.filled());
        bar.set_margin(inset, inset, 0, 0);
        bar
    };
    chart.draw_series(costs.iter().enumerate().map(|(at, cost)| bar(at, cost.us, BLUE.mix(0.45), 4)))?;
    let limits = costs.iter().enumerate().filter_map(|(at, cost)| Some((at, cost.limit_us?)));
    chart.draw_series(limits.map(|(at, us)| bar(at, us, BLACK.mix(0.7), 9)))?;
    let number = |(at, cost): (usize, &Cost)| {
        let ratio = cost.limit_us.map(|limit| format!(" = {:.1} × limit", cost.us / limit)).unwrap_or_default();
        let digits = if cost.us < 10.0 { 2 } else { 1 };
        let text = format!(" {:.digits$}{ratio}", cost.us);
        let style = TextStyle::from(("sans-serif", 15)).pos(Pos::new(HPos::Left, VPos::Center));
        Text::new(text, (cost.us, SegmentValue::CenterOf(at)), style)
    };
    chart.draw_series(costs.iter().enumerate().map(number))?;
    Ok(())
}

/// The greatest value, and something above zero where there is none.
fn greatest(series: &[Series], of: fn(&(f64, f64)) -> f64) -> f64 {
    let greatest = series.iter().flat_map(|series| &series.points).map(of).fold(0.0, f64::max);
    if greatest > 0.0 { greatest * 1.05 } else { 1.0 }
}

/// The percentile above which one in ten to the power of `nines` lies.
fn percent(nines: f64) -> String {
    let digits = (nines - 2.0).ceil().max(0.0) as usize;
    format!("{:.digits$} %", 100.0 * (1.0 - 10f64.powf(-nines)))
}
