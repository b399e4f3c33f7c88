//! Quantities as a reader meets them: counts, durations, sizes, shares.

/// `1234567` → `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A large number in three significant digits: `13.9 M`, `328 G`, `412`.
pub(crate) fn short(number: f64) -> String {
    const STEPS: [(f64, &str); 6] = [
        (1e18, " E"),
        (1e15, " P"),
        (1e12, " T"),
        (1e9, " G"),
        (1e6, " M"),
        (1e3, " k"),
    ];
    for (unit, name) in STEPS {
        if number.abs() >= unit * 0.9995 {
            return format!("{}{name}", significant(number / unit));
        }
    }
    significant(number)
}

fn significant(number: f64) -> String {
    match number.abs() {
        size if size >= 99.95 || number.fract() == 0.0 => format!("{number:.0}"),
        size if size >= 9.995 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// Seconds as `0.8 s`, `42 s`, `3 min 05 s`, `2 h 10 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "–".to_owned();
    }
    if seconds < 9.95 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Bytes in binary units: `1.24 GiB`.
pub(crate) fn bytes(number: f64) -> String {
    const STEPS: [(f64, &str); 4] = [
        (1_099_511_627_776.0, "TiB"),
        (1_073_741_824.0, "GiB"),
        (1_048_576.0, "MiB"),
        (1024.0, "KiB"),
    ];
    for (unit, name) in STEPS {
        if number >= unit {
            return format!("{} {name}", significant(number / unit));
        }
    }
    format!("{number:.0} B")
}

/// A share as a percentage with one decimal: `95.3 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
        for (number, text) in [
            (412.0, "412"),
            (13.9e6, "13.9 M"),
            (328.6e9, "329 G"),
            (1500.0, "1.50 k"),
            (999_999.0, "1.00 M"),
            (0.25, "0.25"),
        ] {
            assert_eq!(short(number), text, "{number}");
        }
        for (seconds, text) in [
            (0.84, "0.8 s"),
            (42.4, "42 s"),
            (185.0, "3 min 05 s"),
            (7800.0, "2 h 10 min"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        for (number, text) in [
            (512.0, "512 B"),
            (1_331_439_861.0, "1.24 GiB"),
            (2048.0, "2 KiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(percent(0.9531), "95.3 %");
    }
}
