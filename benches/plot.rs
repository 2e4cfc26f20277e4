//! Two kinds of charts, as SVG that needs nothing else: bars, and distributions over a logarithmic axis.

use std::fmt::Write;

use crate::stats::{count, percentile, short};

const WIDTH: f64 = 780.0;
const COLOURS: [&str; 8] = [
    "#1b6ca8", "#c0392b", "#27864a", "#b9770e", "#6c3483", "#7f8c8d", "#d35478", "#117a8b",
];
/// Colour of what is compared with ours.
const OTHERS: &str = "#9aa5b1";

pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    /// Drawn as a line over the bar.
    pub(crate) spread: (f64, f64),
    pub(crate) ours: bool,
}

/// Horizontal bars from zero.
pub(crate) fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    const LEFT: f64 = 230.0;
    const RIGHT: f64 = 110.0;
    const ROW: f64 = 30.0;
    const TOP: f64 = 56.0;

    let bottom = TOP + ROW * count(bars.len());
    let ends = bars.iter().map(|bar| bar.value.max(bar.spread.1));
    let largest = ends.fold(f64::MIN_POSITIVE, f64::max);
    let step = round_step(largest / 5.0);
    let end = (largest / step).ceil() * step;
    let x = |value: f64| LEFT + value / end * (WIDTH - LEFT - RIGHT);

    let mut svg = Svg::new(bottom + 44.0, title);
    let mut tick = 0.0;
    while tick <= end * 1.001 {
        svg.line((x(tick), TOP - 4.0), (x(tick), bottom), "#dddddd");
        svg.text(x(tick), bottom + 16.0, "middle", &short_tick(tick));
        tick += step;
    }
    svg.text(x(end / 2.0), bottom + 34.0, "middle", unit);
    for (i, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * count(i);
        let colour = if bar.ours { COLOURS[0] } else { OTHERS };
        svg.text(LEFT - 8.0, y + 17.0, "end", &bar.label);
        svg.rectangle((LEFT, y + 4.0), (x(bar.value) - LEFT, ROW - 11.0), colour);
        let middle = y + 4.0 + (ROW - 11.0) / 2.0;
        let (low, high) = bar.spread;
        svg.line((x(low), middle), (x(high), middle), "#222222");
        svg.text(
            x(bar.value.max(high)) + 6.0,
            y + 17.0,
            "start",
            &short(bar.value),
        );
    }
    svg.end()
}

/// Which share of the values is at most so large. The values must be positive.
pub(crate) fn distribution(title: &str, unit: &str, curves: &[(String, Vec<f64>)]) -> String {
    const LEFT: f64 = 56.0;
    const RIGHT: f64 = 270.0;
    const TOP: f64 = 46.0;
    const HEIGHT: f64 = 300.0;

    let all: Vec<f64> = curves
        .iter()
        .flat_map(|(_, values)| values.clone())
        .collect();
    let low = percentile(&all, 0.0).log10().floor();
    let high = percentile(&all, 100.0).log10().ceil().max(low + 1.0);
    let x = |value: f64| LEFT + (value.log10() - low) / (high - low) * (WIDTH - LEFT - RIGHT);
    let y = |share: f64| TOP + HEIGHT * (1.0 - share);

    let mut svg = Svg::new(TOP + HEIGHT + 48.0, title);
    for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let at = y(percent / 100.0);
        svg.line((LEFT, at), (x(10f64.powf(high)), at), "#dddddd");
        svg.text(LEFT - 6.0, at + 4.0, "end", &format!("{percent} %"));
    }
    let mut decade = low;
    while decade <= high {
        let value = 10f64.powf(decade);
        svg.line((x(value), TOP), (x(value), y(0.0)), "#dddddd");
        svg.text(x(value), y(0.0) + 16.0, "middle", &short_tick(value));
        decade += 1.0;
    }
    svg.text(
        x(10f64.powf(f64::midpoint(low, high))),
        y(0.0) + 36.0,
        "middle",
        unit,
    );
    for (i, (label, values)) in curves.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        // As many points as can be told apart.
        let points = (0..=200u32).map(|step| {
            let percent = f64::from(step) / 2.0;
            (x(percentile(values, percent)), y(percent / 100.0))
        });
        svg.polyline(points, colour);
        let at = TOP + 14.0 + 20.0 * count(i);
        let start = WIDTH - RIGHT + 16.0;
        svg.line((start, at - 4.0), (start + 18.0, at - 4.0), colour);
        svg.text(start + 24.0, at, "start", label);
    }
    svg.end()
}

/// 1, 2 or 5 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let fits = steps.into_iter().find(|step| step * power >= rough);
    fits.unwrap_or(10.0) * power
}

fn short_tick(value: f64) -> String {
    if value < 1000.0 {
        value.to_string()
    } else {
        short(value)
    }
}

/// Everything in its own coordinates, on white.
struct Svg(String);

impl Svg {
    fn new(height: f64, title: &str) -> Self {
        let mut svg = Svg(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n"
        ));
        svg.rectangle((0.0, 0.0), (WIDTH, height), "#ffffff");
        let _ = writeln!(
            svg.0,
            "<text x=\"16\" y=\"26\" font-size=\"15\" font-weight=\"bold\">{title}</text>"
        );
        svg
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str) {
        let _ = writeln!(
            self.0,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    fn polyline(&mut self, points: impl Iterator<Item = (f64, f64)>, colour: &str) {
        let points: Vec<_> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            self.0,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
    }

    fn rectangle(&mut self, at: (f64, f64), size: (f64, f64), colour: &str) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
            at.0, at.1, size.0, size.1
        );
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    fn end(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}
