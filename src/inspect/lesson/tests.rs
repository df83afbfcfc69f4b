//! The lesson's own arithmetic; that lessons add up is for the integration tests.

use super::numbers::{apart, bytes, most_of, softmax, spread, vector, weighted};

#[test]
fn arithmetic_of_a_lesson() {
    let weights = softmax(&[1000.0, 1000.0 + 3f64.ln()]);
    assert!((weights[0] - 0.25).abs() < 1e-12 && (weights[1] - 0.75).abs() < 1e-12);
    assert_eq!(weighted(&[0.5, 0.25], &[vec![2.0, 4.0], vec![8.0, 0.0]]), [3.0, 2.0]);
    assert!((spread(&[1.0, 3.0]) - 1.0).abs() < 1e-12);
    assert!(apart(&[1.0, f64::NAN, 2.0], &[1.0, 1.0, 2.0]).is_nan());
    assert!(apart(&[1.0], &[1.0, 2.0]).is_nan(), "another length is no match");
    assert!(most_of([1.0, f64::NAN, 2.0].into_iter()).is_nan(), "not forgotten by what follows");
    assert_eq!(most_of([0.5, 2.0, 1.0].into_iter()), 2.0);
    assert_eq!(bytes(1.5e6), "1.5 MB");
    assert_eq!(vector(&[1.0; 7]), "[1.000, 1.000, 1.000, 1.000, 1.000, … 7 numbers]");
}
